//! A fast hash, and the 128-bit fingerprint under which a state is remembered.
//!
//! Two states with one fingerprint would be taken for one. Among 10^7 states
//! the odds are below 10^-24.

use std::hash::{BuildHasherDefault, Hash, Hasher};

pub type Fast = BuildHasherDefault<Mixer>;

#[derive(Debug, Clone, Copy)]
pub struct Mixer(u64);

impl Default for Mixer {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Mixer {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * u128::from(0xe703_7ed1_a0b4_28db_u64);
        let folded = (wide >> 64) as u64 ^ wide as u64;
        self.0 = folded.rotate_left(23).wrapping_add(0xa076_1d64_78bd_642f);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.mix(0x8ebc_6af0_9c88_c6e3);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(n.into());
    }

    fn write_u16(&mut self, n: u16) {
        self.mix(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.mix(n as u64);
    }
}

pub fn fingerprint(value: &impl Hash) -> u128 {
    let half = |seed| {
        let mut hasher = Mixer(seed);
        value.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(0x2d35_8dcc_aa6c_78a5)) << 64 | u128::from(half(0x8bb8_4b93_962e_acc9))
}

/// For keys that are fingerprints already.
#[derive(Debug, Default, Clone, Copy)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }
}
