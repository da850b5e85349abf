//! What a key of a profile is, and the macro that declares a section once.

use std::fmt;
use toml::Value;

/// One key: everything the parser, the error messages and the reference need to know.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Name within its section.
    pub name: &'static str,
    /// Unit of the value, or what kind of thing it is.
    pub unit: &'static str,
    /// Which values are possible.
    pub rule: Rule,
    /// What stands when the key is absent.
    pub preset: Preset,
    /// Why the key exists and why its default is what it is.
    pub why: &'static str,
}

/// A table of a profile: `[path]`, or `[[path]]` when it repeats, or the top level (empty path).
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Name of the table.
    pub path: &'static str,
    /// Most times it may stand in a profile; 1 is a plain table.
    pub count_max: usize,
    /// What the section is about.
    pub about: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// Which values a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// `true` or `false`.
    Flag,
    /// A whole number between both, inclusive.
    Range(i64, i64),
    /// A whole number between the first two, inclusive, and a multiple of the third.
    Multiple(i64, i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Text of a form: the sentence for the error message, and the test.
    Text(&'static str, fn(&str) -> bool),
    /// A list with between the first two many values, each under the rule.
    List(usize, usize, &'static Rule),
}

/// What stands when a key is absent.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// The key must be given.
    Required,
    /// The key may be absent: the program decides, as `why` says.
    Absent,
    /// This flag.
    Flag(bool),
    /// This number.
    Number(i64),
    /// This text.
    Text(&'static str),
    /// The empty list.
    Empty,
}

impl Preset {
    /// The value to fill in, when there is one.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Preset::Required | Preset::Absent => None,
            Preset::Flag(flag) => Some(Value::Boolean(flag)),
            Preset::Number(number) => Some(Value::Integer(number)),
            Preset::Text(text) => Some(Value::String(text.to_owned())),
            Preset::Empty => Some(Value::Array(Vec::new())),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Preset::Required => f.write_str("required"),
            Preset::Absent => f.write_str("none"),
            Preset::Flag(flag) => write!(f, "`{flag}`"),
            Preset::Number(number) => write!(f, "`{number}`"),
            Preset::Text(text) => write!(f, "`\"{text}\"`"),
            Preset::Empty => f.write_str("`[]`"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Flag => f.write_str("true or false"),
            Rule::Range(low, high) if low == high => write!(f, "{low}"),
            Rule::Range(low, high) => write!(f, "{low} to {high}"),
            Rule::Multiple(low, high, step) => write!(f, "{low} to {high}, a multiple of {step}"),
            Rule::OneOf(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                write!(f, "one of {}", quoted.join(", "))
            }
            Rule::Text(form, _) => f.write_str(form),
            Rule::List(low, high, each) => write!(f, "{low} to {high} values, each {each}"),
        }
    }
}

impl Rule {
    /// Whether `value` obeys. The caller says [`Rule`]'s Display, the key and the place if not.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Rule::Flag, Value::Boolean(_)) => true,
            (Rule::Range(low, high), Value::Integer(n)) => (low..=high).contains(&n),
            (Rule::Multiple(low, high, step), Value::Integer(n)) => {
                (low..=high).contains(&n) && n % step == 0
            }
            (Rule::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
            (Rule::Text(_, fits), Value::String(text)) => fits(text),
            (Rule::List(low, high, each), Value::Array(values)) => {
                (low..=high).contains(&&values.len()) && values.iter().all(|v| each.accepts(v))
            }
            _ => false,
        }
    }
}

/// Declares sections of a profile: the struct that programs use and the [`Section`] that the
/// parser and the reference use. The sentences above a key are its documentation in both.
macro_rules! sections {
    ($(
        $(#[doc = $about:literal])+
        pub struct $name:ident = $path:literal * $count:literal {
            $(
                $(#[doc = $why:literal])+
                $key:ident: $type:ty, $unit:literal, $rule:expr, $preset:expr;
            )*
        } => $section:ident
    )*) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $why])+
                #[doc = ""]
                #[doc = concat!(
                    "Unit: ", $unit, ". Rule: `", stringify!($rule),
                    "`. Default: `", stringify!($preset), "`."
                )]
                pub $key: $type,
            )*
        }

        /// Keys of this section.
        const $section: Section = Section {
            path: $path,
            count_max: $count,
            about: concat!($($about),+),
            keys: &[$(
                Key {
                    name: stringify!($key),
                    unit: $unit,
                    rule: $rule,
                    preset: $preset,
                    why: concat!($($why),+),
                },
            )*],
        };
    )*};
}
pub(crate) use sections;
