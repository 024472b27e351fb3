//! The search for secrets in what the program leaves behind. It shares nothing with the program's own.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// How a secret may be written, each with a name for the message.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let each = |write: fn(u8) -> String| secret.bytes().map(write).collect::<String>().into_bytes();
    let mut forms = vec![
        ("raw", secret.as_bytes().to_vec()),
        ("hex", each(|byte| format!("{byte:02x}"))),
        ("HEX", each(|byte| format!("{byte:02X}"))),
        ("percent", each(|byte| format!("%{byte:02x}"))),
        ("PERCENT", each(|byte| format!("%{byte:02X}"))),
        ("json", each(|byte| format!("\\u{byte:04x}"))),
        ("json in json", each(|byte| format!("\\\\u{byte:04x}"))),
        ("JSON", each(|byte| format!("\\u{byte:04X}"))),
        (
            "quoted",
            serde_json::to_string(secret)
                .unwrap()
                .trim_matches('"')
                .into(),
        ),
        ("slashes", secret.replace('/', "\\/").into_bytes()),
    ];
    for (before, cut) in [("", 0), ("x", 2), ("xx", 3)] {
        let text = format!("{before}{secret}");
        // The last characters also depend on what comes after.
        let whole = text.len() / 3 * 4;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&text);
            forms.push(("base64", encoded.as_bytes()[cut..whole].to_vec()));
        }
    }
    forms
}

/// Fails when a secret is in `bytes`, in any form.
#[track_caller]
pub(crate) fn assert_no_secret_in(what: &str, bytes: &[u8], secret: &str) {
    for (name, form) in forms(secret) {
        let found = bytes.windows(form.len()).position(|window| window == form);
        assert!(
            found.is_none(),
            "{what} has the secret ({name}) at {found:?}: …{}…",
            String::from_utf8_lossy(
                &bytes[found.unwrap().saturating_sub(80)..(found.unwrap() + 200).min(bytes.len())]
            )
        );
    }
}

/// Fails when a secret is in any file below `dir`, in its name or its content, in any form.
#[track_caller]
pub(crate) fn assert_no_secret(dir: &Path, secret: &str) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert_no_secret_in("a path", path.as_os_str().as_encoded_bytes(), secret);
        if path.is_dir() && !path.is_symlink() {
            files += assert_no_secret(&path, secret);
        } else if path.is_file() {
            files += 1;
            assert_no_secret_in(
                &path.display().to_string(),
                &std::fs::read(&path).unwrap(),
                secret,
            );
        }
    }
    files
}
