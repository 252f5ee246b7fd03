//! The syntax of `server.properties`: that of `java.util.Properties`.
//!
//! A line is `name=value`, `name:value` or `name value`; blanks around the separator do not count. A line whose first
//! visible character is `#` or `!` is a comment. An odd number of backslashes at the end of a line continues it on the
//! next one, whose leading blanks are dropped. `\t \n \r \f \uXXXX` mean what they mean in Java, and any other
//! character after a backslash means itself.

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// The name, escapes resolved.
    pub name: String,
    /// The value, escapes resolved.
    pub value: String,
}

/// An escape that is none: the line, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEscape {
    /// The line it stands on or near.
    pub line: usize,
}

/// Reads all settings of a file in their order, repeated ones too.
pub fn parse(text: &str) -> Result<Vec<Entry>, BadEscape> {
    let mut entries = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (name, value) = split(&logical);
        let unescaped = |part| unescape(part).ok_or(BadEscape { line });
        entries.push(Entry { line, name: unescaped(name)?, value: unescaped(value)? });
    }
    Ok(entries)
}

/// Joins continued lines and drops comments and empty lines.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (index, natural) in text.split('\n').enumerate() {
        let natural = natural.strip_suffix('\r').unwrap_or(natural).trim_start_matches(BLANKS);
        if !continued && (natural.is_empty() || natural.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = natural.bytes().rev().take_while(|&b| b == b'\\').count();
        let goes_on = backslashes % 2 == 1;
        let part = if goes_on { &natural[..natural.len() - 1] } else { natural };
        match joined.last_mut() {
            Some((_, logical)) if continued => logical.push_str(part),
            _ => joined.push((index + 1, part.to_owned())),
        }
        continued = goes_on;
    }
    joined
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

/// Splits at the first separator that no backslash protects.
fn split(logical: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = logical.char_indices().find(|&(_, c)| {
        let separates = !escaped && (c == '=' || c == ':' || BLANKS.contains(&c));
        escaped = c == '\\' && !escaped;
        separates
    });
    let Some((end, _)) = end else { return (logical, "") };
    let rest = logical[end..].trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&logical[..end], value.trim_start_matches(BLANKS))
}

/// Resolves the escapes, or nothing where `\u` is not followed by four hexadecimal digits that make characters.
fn unescape(part: &str) -> Option<String> {
    let mut units = Vec::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    units.push(four_digits(&mut chars)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).ok()
}

fn four_digits(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    (0..4).try_fold(0_u16, |unit, _| {
        let digit = chars.next()?.to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).expect("valid escapes").into_iter().map(|e| (e.name, e.value)).collect()
    }

    fn one(text: &str, name: &str, value: &str) {
        assert_eq!(pairs(text), [(name.to_owned(), value.to_owned())], "{text:?}");
    }

    #[test]
    fn all_separators_are_understood() {
        for text in ["a=b", "a:b", "a b", "a\tb", "  a  =  b", "a =b", "a= b", "a : b"] {
            one(text, "a", "b");
        }
        one("a==b", "a", "=b");
        one("a = = b", "a", "= b");
        one("a", "a", "");
        one("a\\=b=c", "a=b", "c");
        one("a=b c ", "a", "b c ");
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        one("# x=1\n  ! y=2\n\n \t\na=b\r\n", "a", "b");
        one("a=#no comment", "a", "#no comment");
    }

    #[test]
    fn lines_go_on_after_an_odd_number_of_backslashes() {
        one("a=b,\\\n   c", "a", "b,c");
        one("a=b\\\\", "a", "b\\");
        one("a=b\\\n# not a comment", "a", "b# not a comment");
        assert_eq!(parse("\n\na=1\\\n2\nb=3").expect("valid").iter().map(|e| e.line).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn escapes_are_resolved_as_in_java() {
        one("a=\\t\\n\\u00e9\\ud83e\\uddf6\\q", "a", "\t\n\u{e9}\u{1f9f6}q");
        assert_eq!(parse("x=1\na=\\u12"), Err(BadEscape { line: 2 }));
        assert_eq!(parse("a=\\ud800"), Err(BadEscape { line: 1 }));
    }

    /// Escapes everything that means something in the syntax.
    fn escape(text: &str) -> String {
        let one = |c: char| match c {
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\x0c' => "\\f".to_owned(),
            ' ' | '=' | ':' | '#' | '!' | '\\' => format!("\\{c}"),
            _ if c.is_ascii() => c.to_string(),
            _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        text.chars().map(one).collect()
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(written in prop::collection::vec((".{1,8}", any::<String>()), 0..6)) {
            let text: String = written.iter().map(|(n, v)| format!("{}={}\n", escape(n), escape(v))).collect();
            prop_assert_eq!(pairs(&text), written);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "([a-z=: \\\\#!\n\r\t]|\\\\u[0-9a-f]{2,4}|.){0,60}") {
            let _ = parse(&text);
        }
    }
}
