use std::fmt;
use std::str::FromStr;

/// A uuid as Kafka writes it: 22 characters of url-safe base64 without padding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// A text that is not a [`Uuid`]: not 22 characters of url-safe base64, or bits beyond the 128th set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LENGTH: usize = 22;

/// The last of the 22 characters carries 2 bits of the uuid and 4 bits of nothing.
const PADDING_BITS: u32 = 4;

impl Uuid {
    /// The uuid of nothing: "no topic id".
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is [`Self::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0; TEXT_LENGTH];
        text[TEXT_LENGTH - 1] = ALPHABET[(bits << PADDING_BITS) as usize & 63];
        let mut rest = bits >> (6 - PADDING_BITS);
        for character in text[..TEXT_LENGTH - 1].iter_mut().rev() {
            *character = ALPHABET[rest as usize & 63];
            rest >>= 6;
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        if text.len() != TEXT_LENGTH {
            return Err(InvalidUuid);
        }
        let mut bits: u128 = 0;
        for (position, character) in text.bytes().enumerate() {
            let value = ALPHABET.iter().position(|&c| c == character).ok_or(InvalidUuid)? as u128;
            if position < TEXT_LENGTH - 1 {
                bits = bits << 6 | value;
            } else if value & ((1 << PADDING_BITS) - 1) == 0 {
                bits = bits << (6 - PADDING_BITS) | value >> PADDING_BITS;
            } else {
                return Err(InvalidUuid);
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a uuid: 22 characters of A-Z, a-z, 0-9, - and _ are expected")
    }
}

impl std::error::Error for InvalidUuid {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_twenty_two_times_a() {
        assert_eq!(Uuid::ZERO.to_string(), "A".repeat(22));
    }

    #[test]
    fn text_is_url_safe_base64_without_padding() {
        let ascending = Uuid(std::array::from_fn(|i| i as u8));
        assert_eq!(ascending.to_string(), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn wrong_lengths_characters_and_padding_bits_are_refused() {
        for text in
            ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAB"]
        {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_is_read_back(bytes: [u8; 16]) {
            prop_assert_eq!(Uuid(bytes).to_string().parse(), Ok(Uuid(bytes)));
        }
    }
}
