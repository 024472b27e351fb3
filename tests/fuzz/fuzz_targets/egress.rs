//! Whatever a rule or a URL is written as, it has one normal form, and a rule never allows every host.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::egress::{HostRule, Target};

fn target(text: &str) -> Option<Target> {
    Target::of(&text.parse().ok()?).ok()
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (rule, url) = text.split_once('\n').unwrap_or((text, text));
    let target = target(url);
    if let Some(first) = &target {
        let again = format!("{}{}", first.origin(), first.path_and_query());
        assert_eq!(self::target(&again).as_ref(), Some(first));
        let up = |segment: &String| segment == "..";
        assert!(!first.segments().unwrap_or_default().iter().any(up));
        let _ = first.shown();
    }
    let Ok(rule) = rule.parse::<HostRule>() else {
        return;
    };
    assert_eq!(rule.to_string().parse::<HostRule>().as_ref(), Ok(&rule));
    let allows = |target: &Target| rule.matches(&http::Method::GET, target);
    let hosts = ["https://a.example/", "https://b.test/"];
    assert!(
        !hosts
            .iter()
            .all(|url| self::target(url).is_some_and(|target| allows(&target)))
    );
    if let Some(target) = target {
        let _ = allows(&target);
    }
});
