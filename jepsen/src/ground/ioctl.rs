//! The two system calls that no library wraps: a TUN device is opened, and a
//! file system is shut down.

// The argument stands at each block.
#![allow(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
};

use rustix::{
    fs::OFlags,
    ioctl::{Opcode, Setter, ioctl, opcode},
};

const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
/// `EXT4_IOC_SHUTDOWN`: of the number's two halves the kernel's header says
/// "read", although it is read by the kernel.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// The journal is not flushed: what was not synced is lost.
const NOLOGFLUSH: u32 = 2;

const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const NAME: usize = 16;

/// The kernel's `struct ifreq`, as long as its union.
#[repr(C)]
struct Request {
    name: [u8; NAME],
    flags: u16,
    padding: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == 40);

/// Opens a device of this name in the calling thread's network namespace. It
/// is gone when the result is closed. Reads and writes do not block; each is
/// one IP packet.
pub(super) fn open_tun(name: &str) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    options.read(true).write(true).custom_flags(flags);
    let device = options.open("/dev/net/tun")?;
    let mut request = Request {
        name: [0; NAME],
        flags: IFF_TUN | IFF_NO_PI,
        padding: [0; 22],
    };
    let bytes = name.as_bytes();
    // The last byte stays 0.
    let place = request.name[..NAME - 1].get_mut(..bytes.len());
    let place = place.ok_or(io::ErrorKind::InvalidFilename)?;
    place.copy_from_slice(bytes);
    // SAFETY: TUNSETIFF reads one `struct ifreq` and writes the name back into
    // it; `Request` has its size and layout, and the call keeps no pointer.
    unsafe { ioctl(&device, Setter::<TUNSETIFF, Request>::new(request)) }?;
    Ok(device.into())
}

/// From now on the file system that `within` is of loses what it did not yet
/// write, and answers with EIO.
pub(super) fn shut_down(within: &File) -> io::Result<()> {
    // SAFETY: the call reads one u32, and only file systems that know it
    // accept it; others answer ENOTTY.
    unsafe { ioctl(within.as_fd(), Setter::<SHUTDOWN, u32>::new(NOLOGFLUSH)) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!(TUNSETIFF, 0x4004_54CA);
        assert_eq!(SHUTDOWN, 0x8004_587D);
    }
}
