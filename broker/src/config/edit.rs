//! Changing what is set on a resource, one property at a time (KIP-339).

use super::definition::{Definition, Kind};
use super::topic::Overrides;

/// What is to become of one property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// It gets this value.
    Set(&'a str),
    /// It is no longer set.
    Delete,
    /// These items, separated by commas, join those of a list.
    Append(&'a str),
    /// These items, separated by commas, leave a list.
    Subtract(&'a str),
}

/// Items were to join or leave a property that is no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoList {
    /// The property.
    pub name: String,
    /// The operation's name.
    pub operation: &'static str,
}

/// Does what is to become of a property to what is set. Nothing but the shape is checked here: the whole is, once all
/// edits are done.
///
/// Items join and leave the list that is set, or the one that the property has where nothing is set anywhere.
pub fn edit(
    overrides: &mut Overrides,
    name: &str,
    definition: Option<&'static Definition>,
    edit: Edit<'_>,
) -> Result<(), NoList> {
    let list = |operation| match definition {
        Some(definition) if definition.kind == Kind::List => Ok(definition),
        _ => Err(NoList { name: name.to_owned(), operation }),
    };
    match edit {
        Edit::Set(value) => {
            overrides.insert(name.to_owned(), value.to_owned());
        }
        Edit::Delete => {
            overrides.remove(name);
        }
        Edit::Append(items) => {
            let before = items_of(overrides, list("APPEND")?);
            let joining = items.split(',').filter(|item| !before.iter().any(|there| there == item));
            let after: Vec<&str> = before.iter().map(String::as_str).chain(joining).collect();
            overrides.insert(name.to_owned(), after.join(","));
        }
        Edit::Subtract(items) => {
            let mut left = items_of(overrides, list("SUBTRACT")?);
            left.retain(|there| !items.split(',').any(|item| item == there));
            overrides.insert(name.to_owned(), left.join(","));
        }
    }
    Ok(())
}

fn items_of(overrides: &Overrides, definition: &'static Definition) -> Vec<String> {
    let value = overrides.get(definition.name).map(String::as_str).or(definition.default).unwrap_or_default();
    super::definition::list(value).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic_definition;

    fn edited(before: Option<&str>, how: Edit<'_>) -> Option<String> {
        let name = "cleanup.policy";
        let mut overrides: Overrides = before.map(|value| (name.to_owned(), value.to_owned())).into_iter().collect();
        edit(&mut overrides, name, topic_definition(name), how).expect("a list");
        overrides.remove(name)
    }

    #[test]
    fn items_join_and_leave_what_is_set_or_else_the_default() {
        assert_eq!(edited(None, Edit::Append("compact")).as_deref(), Some("delete,compact"));
        assert_eq!(edited(Some("compact"), Edit::Append("compact,delete")).as_deref(), Some("compact,delete"));
        assert_eq!(edited(Some(""), Edit::Append("delete")).as_deref(), Some("delete"));
        assert_eq!(edited(Some("compact,delete"), Edit::Subtract("delete")).as_deref(), Some("compact"));
        assert_eq!(edited(None, Edit::Subtract("delete")).as_deref(), Some(""));
        assert_eq!(edited(Some("compact"), Edit::Set("delete")).as_deref(), Some("delete"));
        assert_eq!(edited(Some("compact"), Edit::Delete), None);
    }

    #[test]
    fn only_lists_have_items() {
        let mut overrides = Overrides::new();
        for (name, how) in [("retention.ms", Edit::Append("1")), ("no.such", Edit::Subtract("1"))] {
            let refused = edit(&mut overrides, name, topic_definition(name), how).expect_err("no list");
            assert_eq!(refused.name, name);
        }
        assert!(overrides.is_empty());
    }
}
