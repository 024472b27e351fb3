//! Patterns of names, of models and of tools, in which `*` stands for any characters.

/// True when `pattern` covers the whole of `name`. Takes at most `pattern * name` steps.
#[must_use]
pub fn covers(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    let Some(mut rest) = rest.strip_suffix(last) else {
        return false;
    };
    // The leftmost place is never worse than a later one.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_characters_and_nothing_else_is_special() {
        for (pattern, name, covered) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/*", "a/b/c", true),
            ("a/*", "ab", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*/b", "a/b", true),
            ("a/*-mini", "a/x-mini-mini", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a/?", "a/b", false),
            ("a/[b]", "a/b", false),
        ] {
            assert_eq!(covers(pattern, name), covered, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_covered_by_itself_with_anything_left_out(name in "[a-c/é]{0,12}", at in 0_usize..13, len in 0_usize..13) {
            prop_assert!(covers(&name, &name));
            let chars: Vec<char> = name.chars().collect();
            let at = at.min(chars.len());
            let end = (at + len).min(chars.len());
            let pattern: String = chars[..at].iter().chain(['*'].iter()).chain(&chars[end..]).collect();
            prop_assert!(covers(&pattern, &name));
        }
    }
}
