//! One seed for a whole run, and a stream of numbers for each part of it.
//!
//! A part draws from a stream of its own name, so that one that draws more or
//! less does not change what the others do.

use fastrand::Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream of the part called `name`.
    #[must_use]
    pub fn stream(self, name: &str) -> Rng {
        // FNV-1a: the same on every machine and in every release.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Rng::with_seed(self.0 ^ hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_every_part_its_own() {
        let draw = |seed, name| Seed(seed).stream(name).u64(..);
        assert_eq!(draw(1, "writes"), draw(1, "writes"));
        assert_ne!(draw(1, "writes"), draw(1, "checks"));
        assert_ne!(draw(1, "writes"), draw(2, "writes"));
    }
}
