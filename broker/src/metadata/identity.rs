//! Random identities: topic ids and the cluster id.

use net::Uuid;
use rand_core::Rng;

/// A random uuid (version 4) as Kafka makes them: never zero, and its text never begins with a dash, which command
/// lines would take for an option.
pub fn random_uuid(random: &mut impl Rng) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        random.fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let uuid = Uuid(bytes);
        if !uuid.to_string().starts_with('-') {
            assert!(!uuid.is_zero(), "the version bits are set");
            return uuid;
        }
    }
}
