//! What a disk does when it is full, fails or loses power.

use tempfile::TempDir;

use super::*;
use crate::ground;

fn disk() -> Option<(TempDir, Disk)> {
    if let Some(why) = ground::missing() {
        eprintln!("skipped: {why}");
        return None;
    }
    let dir = TempDir::new().unwrap();
    let (image, at) = (dir.path().join("disk.img"), dir.path().join("disk"));
    let disk = Disk::create(&image, &at, 64, (0, 0)).unwrap();
    Some((dir, disk))
}

fn write(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_all()?;
        File::open(path.parent().unwrap())?.sync_all()?;
    }
    Ok(())
}

fn is_mounted(at: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.contains(at.to_str().unwrap())
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    let Some((_dir, mut disk)) = disk() else {
        return;
    };
    let at = disk.at.clone();
    write(&at.join("synced"), b"kept", true).unwrap();
    write(&at.join("written"), b"gone", false).unwrap();
    let mut open = File::create(at.join("open")).unwrap();
    disk.cut().unwrap();
    assert!(
        open.write_all(b"late")
            .and_then(|()| open.sync_all())
            .is_err()
    );
    assert!(write(&at.join("late"), b"late", true).is_err());
    disk.restore().unwrap();
    assert_eq!(fs::read(at.join("synced")).unwrap(), b"kept");
    assert!(!at.join("written").exists() && !at.join("late").exists());
    write(&at.join("again"), b"works", true).unwrap();
    // Of the world before.
    assert!(open.sync_all().is_err());
    disk.cut().unwrap();
    disk.restore().unwrap();
    assert_eq!(fs::read(at.join("again")).unwrap(), b"works");
}

#[test]
fn a_rename_without_a_sync_may_leave_an_empty_file() {
    let Some((_dir, mut disk)) = disk() else {
        return;
    };
    let at = disk.at.clone();
    write(&at.join("state"), b"old", true).unwrap();
    write(&at.join("state.new"), b"new", false).unwrap();
    fs::rename(at.join("state.new"), at.join("state")).unwrap();
    File::open(&at).unwrap().sync_all().unwrap();
    disk.cut().unwrap();
    disk.restore().unwrap();
    assert_ne!(fs::read(at.join("state")).unwrap(), b"new");
}

#[test]
fn a_failed_disk_answers_eio_until_it_is_restored() {
    let Some((_dir, mut disk)) = disk() else {
        return;
    };
    let file = disk.at.join("file");
    let mut open = File::create(&file).unwrap();
    open.write_all(b"1").unwrap();
    open.sync_all().unwrap();
    disk.fail_writes().unwrap();
    let error = open.write_all(b"2").and_then(|()| open.sync_all());
    let eio = Some(rustix::io::Errno::IO.raw_os_error());
    assert_eq!(error.unwrap_err().raw_os_error(), eio);
    disk.restore().unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"1");
    write(&file, b"3", true).unwrap();
}

#[test]
fn a_full_disk_takes_nothing_until_it_is_emptied() {
    let Some((_dir, disk)) = disk() else {
        return;
    };
    let file = disk.at.join("file");
    let filled = disk.fill().unwrap();
    assert!(filled > 30 << 20, "{filled}");
    let error = write(&file, &[1; 8192], true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    disk.unfill().unwrap();
    disk.unfill().unwrap();
    write(&file, &[1; 8192], true).unwrap();
    assert!(disk.fill().unwrap() > 30 << 20);
}

#[test]
fn nothing_stays_mounted_not_even_of_a_killed_process() {
    let Some((dir, disk)) = disk() else {
        return;
    };
    let at = disk.at.clone();
    assert!(is_mounted(&at));
    // As if the process had been another one, and killed.
    let orphan = Path::new(REGISTER).join(format!("{PREFIX}4999999-0"));
    fs::rename(&disk.entry, &orphan).unwrap();
    std::mem::forget(disk);
    remove_orphans();
    assert!(!is_mounted(&at) && !orphan.exists());
    let image = dir.path().join("other.img");
    let other = Disk::create(&image, &at, 64, (0, 0)).unwrap();
    drop(other);
    assert!(!is_mounted(&at));
    let loops = tool("losetup", &["--list", "--noheadings", "-O", "BACK-FILE"]).unwrap();
    assert!(!loops.contains(dir.path().to_str().unwrap()), "{loops}");
}
