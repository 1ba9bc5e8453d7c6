//! The kernel, called directly.
//!
//! Through libc a call could come back to the function that replaces it. Calls
//! return what the kernel returns: a negative error number where they fail.

use core::{arch::asm, ffi::c_int};

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Timespec {
    pub seconds: i64,
    pub nanos: i64,
}

impl Timespec {
    pub fn of(nanos: i64) -> Self {
        Self {
            seconds: nanos.div_euclid(SECOND),
            nanos: nanos.rem_euclid(SECOND),
        }
    }

    pub fn nanos(self) -> i64 {
        self.seconds
            .saturating_mul(SECOND)
            .saturating_add(self.nanos)
    }

    /// Whether the kernel would take it.
    pub fn is_valid(self) -> bool {
        self.seconds >= 0 && (0..SECOND).contains(&self.nanos)
    }
}

pub const SECOND: i64 = 1_000_000_000;
pub const REALTIME: c_int = 0;
pub const MONOTONIC: c_int = 1;
pub const EINTR: i64 = 4;
pub const EINVAL: i64 = 22;
pub const ETIMEDOUT: i64 = 110;

#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const CLOSE: i64 = 3;
    pub const LSEEK: i64 = 8;
    pub const MMAP: i64 = 9;
    pub const GETPID: i64 = 39;
    pub const KILL: i64 = 62;
    pub const FUTEX: i64 = 202;
    pub const CLOCK_GETTIME: i64 = 228;
    pub const CLOCK_NANOSLEEP: i64 = 230;
    pub const OPENAT: i64 = 257;
    pub const PSELECT6: i64 = 270;
    pub const PPOLL: i64 = 271;
    pub const EPOLL_PWAIT2: i64 = 441;
}

#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const EPOLL_PWAIT2: i64 = 441;
    pub const OPENAT: i64 = 56;
    pub const CLOSE: i64 = 57;
    pub const LSEEK: i64 = 62;
    pub const PSELECT6: i64 = 72;
    pub const PPOLL: i64 = 73;
    pub const FUTEX: i64 = 98;
    pub const CLOCK_GETTIME: i64 = 113;
    pub const CLOCK_NANOSLEEP: i64 = 115;
    pub const KILL: i64 = 129;
    pub const GETPID: i64 = 172;
    pub const MMAP: i64 = 222;
}

/// # Safety
///
/// That of the system call.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel takes these registers, and changes rax, rcx and r11;
    // what memory it touches is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// # Safety
///
/// That of the system call.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel takes these registers, and changes x0; what memory it
    // touches is the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// What a clock really shows, in nanoseconds; unset for one there is not.
pub fn read(clock: c_int) -> Option<i64> {
    let mut time = Timespec::default();
    let place = (&raw mut time) as i64;
    // SAFETY: the kernel writes one timespec, which lives through the call.
    let result = unsafe { call(number::CLOCK_GETTIME, [clock.into(), place, 0, 0, 0, 0]) };
    (result == 0).then(|| time.nanos())
}
