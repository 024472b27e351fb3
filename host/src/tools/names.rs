//! Names of tools as a model sees them.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

/// Longest name the providers take.
const MAX: usize = 64;

/// The name of `tool` of `server`: `{server}__{tool}` where that has only letters, digits, `_` and `-`, is
/// short enough and not taken. Else it is changed and ends in a digest of the two: the same in every run
/// that offers the same tools.
///
/// The name is put among those that are taken.
pub(super) fn exposed(server: &str, tool: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = format!("{server}__{tool}");
    let clean: String = plain
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') {
                c
            } else {
                '_'
            }
        })
        .collect();
    if clean == plain && clean.len() <= MAX && taken.insert(clean.clone()) {
        return clean;
    }
    // The server's id and the tool's name apart: `a__b` of `c` is not `b` of `c__a`.
    let mut salt = 0_u64;
    loop {
        let mut hash = Sha256::new();
        hash.update(server.as_bytes());
        hash.update([0]);
        hash.update(tool.as_bytes());
        hash.update(salt.to_le_bytes());
        let digest: String = hash
            .finalize()
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        // All of it is ASCII by now.
        let end = clean.len().min(MAX - 1 - digest.len());
        let name = format!("{}_{digest}", clean.get(..end).unwrap_or_default());
        if taken.insert(name.clone()) {
            return name;
        }
        salt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_stay_and_others_get_a_digest() {
        let mut taken = BTreeSet::from(["a__taken".to_owned()]);
        assert_eq!(exposed("a", "echo", &mut taken), "a__echo");
        let again = exposed("a", "echo", &mut taken);
        assert!(again.starts_with("a__echo_"), "{again}");
        assert!(exposed("a", "taken", &mut taken).starts_with("a__taken_"));
        let dotted = exposed("a", "x.y", &mut taken);
        assert!(dotted.starts_with("a__x_y_"), "{dotted}");
        assert_ne!(dotted, exposed("a", "x/y", &mut taken));
    }

    proptest! {
        #[test]
        fn names_are_what_providers_take_and_unique(tools in prop::collection::vec(("[a-z]{1,40}", ".{0,80}"), 0..40)) {
            let mut taken = BTreeSet::new();
            let names: Vec<_> = tools.iter().map(|(server, tool)| exposed(server, tool, &mut taken)).collect();
            for name in &names {
                prop_assert!((1..=64).contains(&name.len()));
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
            }
            let unique: BTreeSet<_> = names.iter().collect();
            prop_assert_eq!(unique.len(), names.len());
            // The same again in another run.
            let mut taken = BTreeSet::new();
            let again: Vec<_> = tools.iter().map(|(server, tool)| exposed(server, tool, &mut taken)).collect();
            prop_assert_eq!(again, names);
        }
    }
}
