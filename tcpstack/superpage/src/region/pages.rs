//! What the kernel is set to do about transparent huge pages.

use std::fs;

/// Whether shared memory that asks for huge pages gets them.
pub(super) fn transparent_for_shared() -> bool {
    let read = |path: &str| fs::read_to_string(path).ok();
    let all_sizes = read("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    let this_size = read("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled");
    grants(all_sizes.as_deref().and_then(chosen), this_size.as_deref().and_then(chosen))
}

/// The kernel's rule: `deny` and `force` for all sizes outrank a size's own setting, which older
/// kernels do not have.
fn grants(all_sizes: Option<&str>, this_size: Option<&str>) -> bool {
    const ON_ADVICE: [&str; 3] = ["always", "within_size", "advise"];
    match (all_sizes, this_size) {
        (Some("force"), _) => true,
        (Some("deny") | None, _) => false,
        (Some(all_sizes), None | Some("inherit")) => ON_ADVICE.contains(&all_sizes),
        (Some(_), Some(this_size)) => ON_ADVICE.contains(&this_size),
    }
}

/// The bracketed word of a setting such as `always [advise] never`.
fn chosen(setting: &str) -> Option<&str> {
    setting.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_the_bracketed_word() {
        assert_eq!(chosen("always within_size advise [never] deny force\n"), Some("never"));
        assert_eq!(chosen("always never"), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn deny_and_force_outrank_the_setting_of_one_size() {
        assert!(!grants(Some("deny"), Some("always")));
        assert!(grants(Some("force"), Some("never")));
    }

    #[test]
    fn one_size_inherits_or_decides() {
        assert!(grants(Some("advise"), Some("inherit")));
        assert!(!grants(Some("never"), Some("inherit")));
        assert!(grants(Some("never"), Some("advise")));
        assert!(!grants(Some("always"), Some("never")));
    }

    #[test]
    fn older_kernels_have_one_setting_or_none() {
        assert!(grants(Some("within_size"), None));
        assert!(!grants(Some("never"), None));
        assert!(!grants(None, None));
    }
}
