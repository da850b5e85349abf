//! Topic names and topic filters (MQTT 5 §4.7, §4.8.2): bytes become one of these types once.

use std::slice::Split;

/// Bytes of a name or filter (MQTT 5 §1.5.4: a UTF-8 string has a two-byte length).
pub(crate) const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// Levels of a name or filter. MQTT has no limit; ours bounds every walk by level.
pub(crate) const LEVELS_MAX: usize = 128;

/// Why bytes are no topic name or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicError {
    /// MQTT 5 §4.7.3: at least one character.
    Empty,
    /// Longer than [`TOPIC_BYTES_MAX`].
    TooLong,
    /// MQTT 5 §1.5.4: ill-formed UTF-8, surrogates included.
    NotUtf8,
    /// MQTT 5 §4.7.3: U+0000.
    Nul,
    /// More than [`LEVELS_MAX`] levels.
    TooManyLevels,
    /// MQTT 5 §4.7.1: a wildcard in a name, or one that does not stand alone at its place.
    Wildcard,
    /// MQTT 5 §4.8.2: `$share/` without a share name or without a filter after it.
    Share,
}

/// A valid topic name: what a PUBLISH is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicName<'a>(&'a [u8]);

impl<'a> TopicName<'a> {
    /// Checks the bytes of a topic name.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, TopicError> {
        check_text(bytes)?;
        if bytes.iter().any(|&byte| byte == b'+' || byte == b'#') {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(bytes))
    }

    /// The text.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The levels, first to last; a level may be empty.
    pub(crate) fn levels(self) -> Levels<'a> {
        levels(self.0)
    }

    /// True for names that begin with `$`, which no leading wildcard matches (MQTT 5 §4.7.2).
    pub(crate) fn is_reserved(self) -> bool {
        self.0.first() == Some(&b'$')
    }
}

/// A valid topic filter: what a SUBSCRIBE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicFilter<'a> {
    bytes: &'a [u8],
    group: Option<&'a [u8]>,
    filter: &'a [u8],
    exact: bool,
}

impl<'a> TopicFilter<'a> {
    /// Checks the bytes of a topic filter, which may be that of a shared subscription.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, TopicError> {
        check_text(bytes)?;
        let (group, filter) = match bytes.strip_prefix(SHARE_PREFIX) {
            None => (None, bytes),
            Some(shared) => {
                let slash = shared.iter().position(|&byte| byte == b'/');
                let slash = slash.ok_or(TopicError::Share)?;
                let (group, filter) = (&shared[..slash], &shared[slash + 1..]);
                // MQTT 5 §4.8.2: the share name has no wildcard and is not empty.
                if group.is_empty() || filter.is_empty() || !is_exact(group) {
                    return Err(TopicError::Share);
                }
                (Some(group), filter)
            }
        };
        check_wildcards(filter)?;
        Ok(Self { bytes, group, filter, exact: is_exact(filter) })
    }

    /// The whole text, share name included.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The filter proper, which names are matched against.
    #[cfg(test)]
    pub(crate) fn filter(self) -> &'a [u8] {
        self.filter
    }

    /// The share name of a shared subscription (MQTT 5 §4.8.2).
    pub(crate) fn group(self) -> Option<&'a [u8]> {
        self.group
    }

    /// True without wildcards: the filter matches the one name that reads the same.
    pub(crate) fn is_exact(self) -> bool {
        self.exact
    }

    /// The levels of the filter proper.
    #[cfg(test)]
    pub(crate) fn levels(self) -> Levels<'a> {
        levels(self.filter)
    }

    /// The levels without a last `#`, and whether there was one.
    pub(crate) fn path(self) -> (Levels<'a>, bool) {
        match self.filter {
            // One level, which yields nothing: a split of no bytes would yield an empty level.
            b"#" => {
                let mut none = levels(b"");
                none.next();
                (none, true)
            }
            [path @ .., b'/', b'#'] => (levels(path), true),
            path => (levels(path), false),
        }
    }

    /// Whether a message to `name` is for this filter.
    #[cfg(test)]
    pub(crate) fn matches(self, name: TopicName<'_>) -> bool {
        if self.exact {
            return self.filter == name.as_bytes();
        }
        // MQTT 5 §4.7.2: a leading wildcard does not match names that begin with `$`.
        if name.is_reserved() && matches!(self.filter.first(), Some(b'+' | b'#')) {
            return false;
        }
        let mut levels = name.levels();
        for wanted in self.levels() {
            if wanted == b"#" {
                // MQTT 5 §4.7.1.2: it stands for the parent level as well.
                return true;
            }
            match levels.next() {
                Some(level) if wanted == b"+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

/// The levels of a name or filter.
pub(crate) type Levels<'a> = Split<'a, u8, fn(&u8) -> bool>;

fn levels(bytes: &[u8]) -> Levels<'_> {
    bytes.split(is_separator as fn(&u8) -> bool)
}

fn is_separator(byte: &u8) -> bool {
    *byte == b'/'
}

fn is_exact(filter: &[u8]) -> bool {
    !filter.iter().any(|&byte| byte == b'+' || byte == b'#')
}

/// What holds for names and filters alike.
fn check_text(bytes: &[u8]) -> Result<(), TopicError> {
    if bytes.is_empty() {
        return Err(TopicError::Empty);
    }
    if bytes.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(TopicError::NotUtf8);
    }
    if bytes.contains(&0) {
        return Err(TopicError::Nul);
    }
    if bytes.iter().filter(|byte| is_separator(byte)).count() >= LEVELS_MAX {
        return Err(TopicError::TooManyLevels);
    }
    Ok(())
}

/// MQTT 5 §4.7.1: a wildcard fills its level, and `#` is the last one.
fn check_wildcards(filter: &[u8]) -> Result<(), TopicError> {
    let mut after_multi = false;
    for level in levels(filter) {
        if after_multi || (level.len() > 1 && !is_exact(level)) {
            return Err(TopicError::Wildcard);
        }
        after_multi = level == b"#";
    }
    Ok(())
}

/// MQTT 5 §4.8.2: begins the filter of a shared subscription.
const SHARE_PREFIX: &[u8] = b"$share/";

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, name: &str) -> bool {
        let filter = TopicFilter::parse(filter.as_bytes()).unwrap();
        filter.matches(TopicName::parse(name.as_bytes()).unwrap())
    }

    #[test]
    fn examples_of_the_specification_match() {
        // MQTT 5 §4.7.1.2 and §4.7.1.3.
        for name in ["sport/tennis/player1", "sport/tennis/player1/ranking"] {
            assert!(matches("sport/tennis/player1/#", name), "{name}");
        }
        assert!(matches("sport/#", "sport"));
        assert!(matches("#", "sport") && matches("#", "/"));
        assert!(matches("sport/tennis/+", "sport/tennis/player1"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport") && matches("sport/+", "sport/"));
        assert!(matches("+/+", "/finance") && matches("/+", "/finance"));
        assert!(!matches("+", "/finance"));
    }

    #[test]
    fn leading_wildcard_does_not_match_reserved_names() {
        // MQTT 5 §4.7.2.
        assert!(!matches("#", "$SYS/a") && !matches("+/a", "$SYS/a") && !matches("+/#", "$SYS"));
        assert!(matches("$SYS/#", "$SYS/a") && matches("$SYS/#", "$SYS"));
        assert!(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
        assert!(matches("a/+", "a/$SYS"), "the sign has a meaning at the beginning only");
    }

    #[test]
    fn names_and_filters_are_case_sensitive_and_count_empty_levels() {
        assert!(!matches("Accounts", "ACCOUNTS"));
        assert!(!matches("/a", "a") && !matches("a/", "a") && matches("a//b", "a//b"));
        assert!(matches("a/+/b", "a//b"));
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for filter in ["a#", "a/#/b", "a+", "+a/b", "a/b+", "##", "#/", "++", "a/b#", "#/+"] {
            let parsed = TopicFilter::parse(filter.as_bytes());
            assert_eq!(parsed, Err(TopicError::Wildcard), "{filter}");
        }
        for filter in ["+", "#", "+/#", "a/+/b", "/+", "+/", "+/+"] {
            let parsed = TopicFilter::parse(filter.as_bytes()).unwrap();
            assert!(!parsed.is_exact(), "{filter}");
        }
        for name in ["+", "a/#", "a+b", "#"] {
            assert_eq!(TopicName::parse(name.as_bytes()), Err(TopicError::Wildcard), "{name}");
        }
    }

    #[test]
    fn text_that_mqtt_forbids_is_refused() {
        let too_long = vec![b'a'; TOPIC_BYTES_MAX + 1];
        let deep = vec![b'/'; LEVELS_MAX];
        let cases: [(&[u8], TopicError); 6] = [
            (b"", TopicError::Empty),
            (&too_long, TopicError::TooLong),
            (b"a\xff", TopicError::NotUtf8),
            (b"a/\xed\xa0\x80", TopicError::NotUtf8),
            (b"a\0b", TopicError::Nul),
            (&deep, TopicError::TooManyLevels),
        ];
        for (bytes, error) in cases {
            assert_eq!(TopicName::parse(bytes), Err(error));
            assert_eq!(TopicFilter::parse(bytes), Err(error));
        }
        assert!(TopicName::parse(&too_long[1..]).is_ok());
        assert_eq!(TopicName::parse(&deep[1..]).unwrap().levels().count(), LEVELS_MAX);
    }

    #[test]
    fn shared_filter_is_split_into_group_and_filter() {
        let shared = TopicFilter::parse(b"$share/consumers/sport/+").unwrap();
        assert_eq!(shared.group(), Some(&b"consumers"[..]));
        assert_eq!(shared.filter(), b"sport/+");
        assert_eq!(shared.as_bytes(), b"$share/consumers/sport/+");
        assert!(shared.matches(TopicName::parse(b"sport/a").unwrap()));
        assert_eq!(TopicFilter::parse(b"$share/g//").unwrap().filter(), b"/");
        for filter in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a"]
        {
            assert_eq!(TopicFilter::parse(filter.as_bytes()), Err(TopicError::Share), "{filter}");
        }
        for filter in ["$share", "$shared/g/a", "a/$share/g"] {
            assert_eq!(TopicFilter::parse(filter.as_bytes()).unwrap().group(), None, "{filter}");
        }
    }

    #[test]
    fn path_leaves_the_multi_level_wildcard_out() {
        let path = |filter: &'static str| {
            let (levels, multi) = TopicFilter::parse(filter.as_bytes()).unwrap().path();
            (levels.collect::<Vec<_>>(), multi)
        };
        assert_eq!(path("#"), (vec![], true));
        assert_eq!(path("/#"), (vec![&b""[..]], true));
        assert_eq!(path("a/+/#"), (vec![&b"a"[..], b"+"], true));
        assert_eq!(path("a/+"), (vec![&b"a"[..], b"+"], false));
    }
}
