//! Whether to spin a little before sleeping.

/// How long one spin lasts. A sleep and its wake-up cost about as much CPU.
pub(super) const WINDOW_NS: u64 = 20_000;

/// The most sleeps without a spin after spins that did not pay.
const PAUSE_MAX: u32 = 255;

/// Spins as long as that pays: each spin in vain doubles the number of sleeps before the next try, so that a nearly
/// idle shard hardly ever spins and a busy one always does.
#[derive(Debug, Default)]
pub(super) struct Spin {
    /// Sleeps to come without a spin.
    pause: u32,
    /// The length of the next pause.
    next_pause: u32,
}

impl Spin {
    /// Whether to spin before this sleep.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        due
    }

    /// Something came while spinning.
    pub(super) fn paid(&mut self) {
        self.next_pause = 0;
    }

    /// Nothing came.
    pub(super) fn was_in_vain(&mut self) {
        self.next_pause = (self.next_pause * 2 + 1).min(PAUSE_MAX);
        self.pause = self.next_pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spins_in_vain_become_rare_and_one_that_pays_brings_them_back() {
        let mut spin = Spin::default();
        let mut spins = 0;
        for _ in 0..10_000 {
            if spin.is_due() {
                spins += 1;
                spin.was_in_vain();
            }
        }
        assert!(spins < 60, "{spins} spins in 10,000 sleeps");
        while !spin.is_due() {}
        spin.paid();
        assert!((0..100).all(|_| spin.is_due()));
    }
}
