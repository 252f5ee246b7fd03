//! A comparison as pages: HTML with plots, in one file that needs no other, and Markdown.

mod html;
mod markdown;
mod plot;
mod table;

pub use self::html::html;
pub use self::markdown::markdown;
