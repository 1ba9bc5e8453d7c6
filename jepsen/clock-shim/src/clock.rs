//! What time it is in this process.
//!
//! The page is found when the library is loaded, before `main`. No page, or one
//! that cannot be read: the clocks show what they show.

use core::{
    ffi::{c_char, c_int},
    ptr,
    sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, Ordering},
};

use crate::{
    kernel::{self, number},
    page::{Course, MAGIC, Page, SLOTS, Slot, VERSION},
};

static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());
/// This process's; found at its first skewed time.
static SLOT: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn pthread_atfork(
        before: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = find_page;

extern "C" fn find_page() {
    // SAFETY: nobody changes the environment before `main`.
    let path = unsafe { getenv(c"JEPSEN_CLOCK".as_ptr()) };
    if path.is_null() {
        return;
    }
    // SAFETY: the path is a C string of the environment.
    if let Some(page) = unsafe { map(path) } {
        PAGE.store(page, Ordering::Release);
        // SAFETY: the handler only stores a pointer. A child without it would
        // count as its parent, and nothing worse.
        unsafe { pthread_atfork(None, None, Some(forget_slot)) };
    }
}

/// A child is not its parent.
extern "C" fn forget_slot() {
    SLOT.store(ptr::null_mut(), Ordering::Release);
}

/// # Safety
///
/// `path` is a C string.
unsafe fn map(path: *const c_char) -> Option<*mut Page> {
    const AT_FDCWD: i64 = -100;
    const READ_WRITE_CLOEXEC: i64 = 0o2_000_002;
    const END: i64 = 2;
    const PROTECTION: i64 = 3;
    const SHARED: i64 = 1;
    let length = size_of::<Page>() as i64;
    let open = [AT_FDCWD, path as i64, READ_WRITE_CLOEXEC, 0, 0, 0];
    // SAFETY: the kernel reads the path; the descriptor is ours to close. The
    // mapping is as long as the file, is never undone, and all that lies in it
    // are atomics, for which any bytes are good.
    unsafe {
        let file = kernel::call(number::OPENAT, open);
        if file < 0 {
            return None;
        }
        let end = kernel::call(number::LSEEK, [file, 0, END, 0, 0, 0]);
        let mut address = -1;
        if end >= length {
            let arguments = [0, length, PROTECTION, SHARED, file, 0];
            address = kernel::call(number::MMAP, arguments);
        }
        kernel::call(number::CLOSE, [file, 0, 0, 0, 0, 0]);
        // The kernel's errors are the last 4095 numbers.
        if (-4095..0).contains(&address) {
            return None;
        }
        let page = address as *mut Page;
        let known = (*page).magic.load(Ordering::Acquire) == MAGIC
            && (*page).version.load(Ordering::Relaxed) == VERSION;
        known.then_some(page)
    }
}

fn page() -> Option<&'static Page> {
    // SAFETY: it is null, or a mapping that is never undone.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// A clock that is skewed.
#[derive(Clone, Copy)]
pub struct Clock {
    page: &'static Page,
    /// As the kernel knows it.
    id: c_int,
    /// Its place in the page.
    index: usize,
}

/// Unset for one that shows real time, always.
pub fn skewed(id: c_int) -> Option<Clock> {
    let index = match id {
        0 | 5 => 0,
        1 | 6 => 1,
        4 => 2,
        7 => 3,
        _ => return None,
    };
    page().map(|page| Clock { page, id, index })
}

impl Clock {
    /// The virtual time, for this process to use.
    pub fn now(self) -> Option<i64> {
        let (real, course, generation) = self.look()?;
        let shown = course.virtual_at(real);
        if course != Course::REAL {
            record(self.page, self.index, shown - real, generation);
        }
        Some(shown)
    }

    /// How long to wait, really, until it is `moment`; unset once it is.
    pub fn left(self, moment: i64) -> Option<i64> {
        let (real, course, _) = self.look()?;
        if course.virtual_at(real) >= moment {
            return None;
        }
        Some((course.real_at(moment, real) - real).max(1))
    }

    /// A time and the course that held when it was read.
    ///
    /// A change is announced before it holds: a time that was read before the
    /// next announcement is on this course, and one that was read after the
    /// last is on no earlier one, however long the thread is held up between.
    fn look(self) -> Option<(i64, Course, u64)> {
        loop {
            let before = self.page.generation();
            let real = kernel::read(self.id)?;
            let (course, generation) = self.page.course(self.index);
            if generation == before {
                return Some((real, course, generation));
            }
        }
    }
}

fn record(page: &'static Page, clock: usize, ahead: i64, generation: u64) {
    let Some(slot) = slot(page) else {
        return;
    };
    slot.ahead[clock].store(ahead, Ordering::Relaxed);
    slot.generation.store(generation, Ordering::Relaxed);
    slot.served.fetch_add(1, Ordering::Release);
}

fn slot(page: &'static Page) -> Option<&'static Slot> {
    // SAFETY: it is null, or within a mapping that is never undone.
    if let Some(slot) = unsafe { SLOT.load(Ordering::Acquire).as_ref() } {
        return Some(slot);
    }
    let slot = claim(page)?;
    SLOT.store(ptr::from_ref(slot).cast_mut(), Ordering::Release);
    Some(slot)
}

/// One that is this process's already, else a free one, else a dead process's.
fn claim(page: &'static Page) -> Option<&'static Slot> {
    let free = |pid: u32| pid == 0;
    let pid = u32::try_from(ask(number::GETPID, 0)).ok()?;
    let own = page.slots.iter();
    let mut own = own.filter(|slot| slot.pid.load(Ordering::Acquire) == pid);
    own.next()
        .or_else(|| take(page, pid, free))
        .or_else(|| take(page, pid, is_gone))
}

fn take(page: &'static Page, pid: u32, may: impl Fn(u32) -> bool) -> Option<&'static Slot> {
    page.slots[..SLOTS].iter().find(|slot| {
        let found = slot.pid.load(Ordering::Acquire);
        // Another thread may have been faster: with two slots, whoever looks
        // would find the one that nobody writes to.
        found == pid || (may(found) && acquire(slot, found, pid))
    })
}

fn acquire(slot: &Slot, found: u32, pid: u32) -> bool {
    if !swap(&slot.pid, found, pid) {
        return slot.pid.load(Ordering::Acquire) == pid;
    }
    slot.served.store(0, Ordering::Relaxed);
    slot.generation.store(0, Ordering::Relaxed);
    let clear = |ahead: &AtomicI64| ahead.store(0, Ordering::Relaxed);
    slot.ahead.iter().for_each(clear);
    true
}

fn swap(place: &AtomicU32, from: u32, to: u32) -> bool {
    let done = place.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
    done.is_ok()
}

fn is_gone(pid: u32) -> bool {
    const ESRCH: i64 = 3;
    ask(number::KILL, i64::from(pid)) == -ESRCH
}

fn ask(number: i64, argument: i64) -> i64 {
    // SAFETY: `getpid`, and `kill` with signal 0, touch no memory.
    unsafe { kernel::call(number, [argument, 0, 0, 0, 0, 0]) }
}
