//! Makes the clocks of one process run as a controller says.
//!
//! Preloaded, it stands in for libc's functions that tell the time or wait for
//! some time. A wait is as long as the *virtual* clock says, and follows it: a
//! thread that sleeps notices when its clock jumps or changes its pace.
//!
//! Invariants: without a control page everything is as ever. A clock other
//! than the wall clock never goes back. No function here allocates, locks or
//! reads a clock through libc.
//!
//! Not covered: timer descriptors, interval timers, POSIX condition variables
//! of C code, and whoever calls the kernel directly.

// Everything here is called from C and calls the kernel.
#![allow(unsafe_code)]

mod clock;
mod kernel;
mod page;

use core::ffi::{c_int, c_long, c_uint, c_void};

use kernel::{EINTR, EINVAL, ETIMEDOUT, MONOTONIC, REALTIME, Timespec, number};

use crate::clock::{Clock, skewed};

/// The longest that a wait does not look at the virtual clock, ns.
const PIECE: i64 = 50_000_000;
const TIMER_ABSTIME: c_int = 1;
/// Bytes of a signal mask.
const MASK: i64 = 8;

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Timeval {
    seconds: i64,
    micros: i64,
}

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// As libc answers: -1 and `errno`.
fn answer(result: i64) -> c_long {
    if !(-4095..0).contains(&result) {
        return result;
    }
    // SAFETY: libc gives each thread a place for this.
    unsafe { *__errno_location() = (-result) as c_int };
    -1
}

/// Waits in pieces until `wait` ends otherwise than by its timeout, or it is
/// `moment`. `wait` is given how long, in ns, and ends with `over` if nothing
/// happened.
fn wait_until(clock: Clock, moment: i64, over: i64, mut wait: impl FnMut(i64) -> i64) -> i64 {
    loop {
        let left = clock.left(moment);
        let result = wait(left.unwrap_or(0).min(PIECE));
        if result != over || left.is_none() {
            return result;
        }
    }
}

/// # Safety
///
/// `time` is writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(id: c_int, time: *mut Timespec) -> c_int {
    if let (Some(shown), false) = (skewed(id).and_then(Clock::now), time.is_null()) {
        // SAFETY: the caller's promise.
        unsafe { *time = Timespec::of(shown) };
        return 0;
    }
    let arguments = [id.into(), time as i64, 0, 0, 0, 0];
    // SAFETY: the caller's promise.
    answer(unsafe { kernel::call(number::CLOCK_GETTIME, arguments) }) as c_int
}

fn wall() -> i64 {
    let shown = skewed(REALTIME).and_then(Clock::now);
    shown.or_else(|| kernel::read(REALTIME)).unwrap_or(0)
}

/// # Safety
///
/// `time` is writable or null. The zone has been obsolete for decades, and is
/// left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Timeval, _zone: *mut c_void) -> c_int {
    if !time.is_null() {
        let now = Timespec::of(wall());
        let micros = now.nanos / 1000;
        // SAFETY: the caller's promise.
        unsafe {
            *time = Timeval {
                seconds: now.seconds,
                micros,
            }
        };
    }
    0
}

/// # Safety
///
/// `time` is writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut i64) -> i64 {
    let seconds = Timespec::of(wall()).seconds;
    if !time.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *time = seconds };
    }
    seconds
}

/// # Safety
///
/// `request` is readable; `rest` is writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nanosleep(request: *const Timespec, rest: *mut Timespec) -> c_int {
    // SAFETY: the caller's promise.
    let error = unsafe { clock_nanosleep(MONOTONIC, 0, request, rest) };
    answer(-i64::from(error)) as c_int
}

/// # Safety
///
/// `request` is readable; `rest` is writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_nanosleep(
    id: c_int,
    flags: c_int,
    request: *const Timespec,
    rest: *mut Timespec,
) -> c_int {
    let sleep = |id: c_int, flags: c_int, request: *const Timespec, rest: *mut Timespec| {
        let flags = i64::from(flags);
        let arguments = [id.into(), flags, request as i64, rest as i64, 0, 0];
        // SAFETY: the caller's promise, or a timespec of our own.
        unsafe { kernel::call(number::CLOCK_NANOSLEEP, arguments) }
    };
    let now = skewed(id).and_then(|clock| Some((clock, clock.now()?)));
    let (Some((clock, now)), false) = (now, request.is_null()) else {
        return -sleep(id, flags, request, rest) as c_int;
    };
    // SAFETY: the caller's promise.
    let asked = unsafe { *request };
    if !asked.is_valid() {
        return EINVAL as c_int;
    }
    let is_absolute = flags & TIMER_ABSTIME != 0;
    let start = if is_absolute { 0 } else { now };
    let moment = asked.nanos().saturating_add(start);
    let nothing = core::ptr::null_mut();
    let result = wait_until(clock, moment, 0, |piece| {
        let time = Timespec::of(piece);
        sleep(MONOTONIC, 0, &raw const time, nothing)
    });
    if result == -EINTR && !is_absolute && !rest.is_null() {
        let left = moment - clock.now().unwrap_or(moment);
        // SAFETY: the caller's promise.
        unsafe { *rest = Timespec::of(left.max(0)) };
    }
    -result as c_int
}

/// Waits for something to happen to descriptors, for `timeout` ns of virtual
/// time. Unset: for ever. `wait` is given a timespec that the kernel may change.
fn wait_for(timeout: Option<i64>, mut wait: impl FnMut(*mut Timespec) -> i64) -> c_int {
    let mut wait_ns = |nanos: i64| {
        let mut time = Timespec::of(nanos);
        wait(&raw mut time)
    };
    let now = skewed(MONOTONIC).and_then(|clock| Some((clock, clock.now()?)));
    let result = match (timeout, now) {
        (None, _) => wait(core::ptr::null_mut()),
        (Some(timeout), Some((clock, now))) if timeout > 0 => {
            let moment = now.saturating_add(timeout);
            wait_until(clock, moment, 0, wait_ns)
        }
        (Some(timeout), _) => wait_ns(timeout),
    };
    answer(result) as c_int
}

fn of_millis(timeout: c_int) -> Option<i64> {
    (timeout >= 0).then(|| i64::from(timeout) * 1_000_000)
}

/// # Safety
///
/// As for `epoll_pwait2`.
unsafe fn epoll(
    file: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: Option<i64>,
    mask: *const c_void,
) -> c_int {
    let (events, mask) = (events as i64, mask as i64);
    wait_for(timeout, |time| {
        let arguments = [file.into(), events, most.into(), time as i64, mask, MASK];
        // SAFETY: the caller's promise, and a timespec of our own.
        unsafe { kernel::call(number::EPOLL_PWAIT2, arguments) }
    })
}

/// # Safety
///
/// `events` has room for `most`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    file: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { epoll(file, events, most, of_millis(timeout), core::ptr::null()) }
}

/// # Safety
///
/// `events` has room for `most`; `mask` is readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait(
    file: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: c_int,
    mask: *const c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { epoll(file, events, most, of_millis(timeout), mask) }
}

/// # Safety
///
/// `events` has room for `most`; `timeout` and `mask` are readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait2(
    file: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: *const Timespec,
    mask: *const c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    let timeout = unsafe { timeout.as_ref() }.map(|timeout| timeout.nanos());
    // SAFETY: the caller's promise.
    unsafe { epoll(file, events, most, timeout, mask) }
}

/// # Safety
///
/// `files` are `count`; `timeout` and `mask` are readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppoll(
    files: *mut c_void,
    count: u64,
    timeout: *const Timespec,
    mask: *const c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    let timeout = unsafe { timeout.as_ref() }.map(|timeout| timeout.nanos());
    let (files, count, mask) = (files as i64, count as i64, mask as i64);
    wait_for(timeout, |time| {
        let arguments = [files, count, time as i64, mask, MASK, 0];
        // SAFETY: the caller's promise, and a timespec of our own.
        unsafe { kernel::call(number::PPOLL, arguments) }
    })
}

/// # Safety
///
/// `files` are `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(files: *mut c_void, count: u64, timeout: c_int) -> c_int {
    let timeout = of_millis(timeout).map(Timespec::of);
    let place = timeout
        .as_ref()
        .map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: the caller's promise, and a timespec of our own.
    unsafe { ppoll(files, count, place, core::ptr::null()) }
}

/// PostgreSQL sleeps by it. With descriptors it is not waited for in pieces,
/// because each piece would empty the sets.
///
/// # Safety
///
/// The sets hold `count` bits or are null; `timeout` is readable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn select(
    count: c_int,
    reads: *mut c_void,
    writes: *mut c_void,
    errors: *mut c_void,
    timeout: *const Timeval,
) -> c_int {
    // SAFETY: the caller's promise.
    let timeout = unsafe { timeout.as_ref() };
    let timeout = timeout.map(|it| {
        let micros = it.seconds.saturating_mul(1_000_000);
        micros.saturating_add(it.micros).saturating_mul(1000)
    });
    let sets = [reads as i64, writes as i64, errors as i64];
    let wait = |time: *mut Timespec| {
        let [reads, writes, errors] = sets;
        let arguments = [count.into(), reads, writes, errors, time as i64, 0];
        // SAFETY: the caller's promise, and a timespec of our own.
        unsafe { kernel::call(number::PSELECT6, arguments) }
    };
    if sets == [0; 3] {
        return wait_for(timeout, wait);
    }
    let clock = skewed(MONOTONIC).zip(timeout);
    let real = clock.and_then(|(clock, it)| clock.left(clock.now()?.saturating_add(it)));
    let mut time = real.or(timeout).map(Timespec::of);
    let place = time
        .as_mut()
        .map_or(core::ptr::null_mut(), core::ptr::from_mut);
    answer(wait(place)) as c_int
}

/// Variadic in C; integers are passed alike where they are fixed, and one that
/// was not passed is read as whatever lies there, as libc itself does.
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    call: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let arguments = [a, b, c, d, e, f];
    match call {
        // SAFETY: the caller's promise.
        number::FUTEX => answer(unsafe { futex(arguments) }),
        number::CLOCK_GETTIME => {
            // SAFETY: the caller's promise.
            c_long::from(unsafe { clock_gettime(a as c_int, b as *mut Timespec) })
        }
        // SAFETY: the caller's promise.
        _ => answer(unsafe { kernel::call(call, arguments) }),
    }
}

const FUTEX_WAIT: c_uint = 0;
const FUTEX_WAIT_BITSET: c_uint = 9;
const FUTEX_CLOCK_REALTIME: c_uint = 256;
const FUTEX_PRIVATE: c_uint = 128;

/// The two waits by which Rust's locks, parked threads and channels wait.
///
/// # Safety
///
/// That of the system call.
unsafe fn futex(arguments: [i64; 6]) -> i64 {
    let [word, operation, expected, timeout, other, bits] = arguments;
    let operation = operation as c_uint;
    let command = operation & !(FUTEX_CLOCK_REALTIME | FUTEX_PRIVATE);
    let by_wall = operation & FUTEX_CLOCK_REALTIME != 0;
    let waits = matches!(command, FUTEX_WAIT | FUTEX_WAIT_BITSET) && timeout != 0;
    let clock = skewed(if by_wall { REALTIME } else { MONOTONIC }).filter(|_| waits);
    let now = clock.and_then(|clock| Some((clock, clock.now()?)));
    let Some((clock, now)) = now else {
        // SAFETY: the caller's promise.
        return unsafe { kernel::call(number::FUTEX, arguments) };
    };
    // SAFETY: the caller's promise: for these two commands it is a timespec.
    let timeout = unsafe { *(timeout as *const Timespec) };
    if !timeout.is_valid() {
        return -EINVAL;
    }
    let is_absolute = command == FUTEX_WAIT_BITSET;
    let start = if is_absolute { 0 } else { now };
    let moment = timeout.nanos().saturating_add(start);
    // A piece is measured by the real monotonic clock, whichever was asked for.
    let operation = i64::from(operation & !FUTEX_CLOCK_REALTIME);
    wait_until(clock, moment, -ETIMEDOUT, |piece| {
        let from = if is_absolute {
            kernel::read(MONOTONIC)
        } else {
            None
        };
        let time = Timespec::of(from.unwrap_or(0) + piece);
        let place = (&raw const time) as i64;
        // SAFETY: the caller's promise, and a timespec of our own. To wait again
        // for the same value is right: the kernel looks at the word first.
        unsafe {
            kernel::call(
                number::FUTEX,
                [word, operation, expected, place, other, bits],
            )
        }
    })
}
