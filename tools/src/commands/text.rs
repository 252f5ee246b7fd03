//! Small notations in options.

/// Resolves `\n`, `\r`, `\t`, `\0`, `\\` and `\xHH`, since shells make such characters hard to type.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escaped, after)) = rest.split_first() else {
            return Err("it ends in a lone backslash; write \\\\ for a backslash".to_owned());
        };
        rest = after;
        out.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                value.ok_or("\\x needs two hexadecimal digits")?
            }
            other => return Err(format!("\\{} is unknown: use \\n \\r \\t \\0 \\\\ or \\xHH", char::from(other))),
        });
    }
    Ok(out)
}

/// Splits `NAME=VALUE`.
pub(super) fn name_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_and_strange_ones_refused() {
        assert_eq!(unescape(r"a\t\x1f\\é").unwrap(), [b"a\t\x1f\\".as_slice(), "é".as_bytes()].concat());
        for wrong in [r"\", r"\q", r"\x1", r"\xzz"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_split_from_values_at_the_first_sign() {
        assert_eq!(name_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(name_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(name_value("=b").is_err() && name_value("ab").is_err());
    }
}
