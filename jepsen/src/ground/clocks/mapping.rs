//! The control file in this process's memory.

// The arguments stand at the blocks.
#![allow(unsafe_code)]

use std::{
    fs::{File, Permissions},
    io,
    ops::Deref,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    ptr::{self, NonNull},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::page::Page;

#[derive(Debug)]
pub(super) struct Mapping(NonNull<Page>);

// SAFETY: all that lies in a page are atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Of a new file, of zeros, that any process may write to.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(path)?;
        file.set_len(size_of::<Page>() as u64)?;
        file.set_permissions(Permissions::from_mode(0o666))?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let length = size_of::<Page>();
        // SAFETY: a new mapping at an address that the kernel chooses, as long
        // as the file, which nobody makes shorter.
        let address = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                &file,
                0,
            )
        }?;
        let page = NonNull::new(address.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self(page))
    }
}

impl Deref for Mapping {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: mapped for as long as this lives, and aligned to a page.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `create`, and borrowed by nobody any more.
        let _cannot_fail = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Page>()) };
    }
}
