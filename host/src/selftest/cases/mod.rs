//! The registry: every case, in the order in which they are shown.

mod account;
mod artifact;
mod cache;
mod cow;
mod disk;
mod host_places;
mod http;
mod links;
mod machine;
mod protected;
mod replay;
mod required;
mod secrets;
mod single_file;
mod surroundings;
mod time;
mod tools;

use super::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let tables: [&'static [Case]; 17] = [
        disk::CASES,
        host_places::CASES,
        links::CASES,
        protected::CASES,
        single_file::CASES,
        cow::CASES,
        machine::CASES,
        time::CASES,
        account::CASES,
        required::CASES,
        surroundings::CASES,
        tools::CASES,
        http::CASES,
        replay::CASES,
        secrets::CASES,
        artifact::CASES,
        cache::CASES,
    ];
    tables.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::wall::Wall;
    use super::*;

    #[test]
    fn names_are_unique_and_every_wall_has_a_case() {
        let mut names = HashSet::new();
        assert!(all().all(|case| names.insert(case.id)));
        assert!(names.len() >= 60, "{}", names.len());
        let watched: HashSet<Wall> = all().map(|case| case.wall).collect();
        for wall in Wall::ALL {
            assert!(watched.contains(wall), "{}", wall.id());
        }
    }

    #[test]
    fn claims_are_sentences_and_sources_are_given() {
        for case in all() {
            assert!(
                case.claim.ends_with('.') && case.claim.len() <= 120,
                "{}: {}",
                case.id,
                case.claim
            );
            assert!(!case.source.is_empty(), "{}", case.id);
        }
    }
}
