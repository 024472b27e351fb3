//! Where the host keeps its own data, inside what was granted.

use super::super::case::{Case, Trying, host};
use super::super::evidence::Evidence;
use super::super::guests;
use super::super::setup::{Dirs, Protect, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use crate::run::{Host, HostOptions, StartError};

const WORK: Setup = Setup::new(Dirs::Work)
    .protect(Protect::Off)
    .leaves(&[Trace::Denied]);

pub(super) const CASES: &[Case] = &[
    host(
        "host-places",
        Wall::HostPlaces,
        "CWE-552",
        "The host's own data in a granted directory is not there for a guest, and not to be made.",
        hidden,
    ),
    host(
        "host-places-granted",
        Wall::HostPlaces,
        "CWE-552",
        "A directory in which the host keeps its own data cannot be granted.",
        granted,
    ),
];

fn hidden(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let world = stage
                .world(&WORK)
                .await
                .map_err(|verdict| format!("{verdict:?}"))?;
            let host = Host::new(HostOptions {
                places: vec![world.path("work/sub/inner"), world.path("work/later")],
                ..HostOptions::default()
            })
            .map_err(|error| error.to_string())?;
            let id = "escape-host-places";
            let agent = stage::load(&host, guests::ESCAPE).await?;
            let outcome = stage::run(&host, &world, &agent, &WORK, id, "host-places").await?;
            let evidence = Evidence::gather(&world, id, &outcome)?;
            let wrong = evidence.judge(&WORK);
            match wrong.is_empty() {
                true => Ok(evidence.saw().to_owned()),
                false => Err(wrong.join("; ")),
            }
        };
        tried.await.into()
    })
}

fn granted(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let world = stage
                .world(&WORK)
                .await
                .map_err(|verdict| format!("{verdict:?}"))?;
            let host = Host::new(HostOptions {
                places: vec![world.path("work")],
                ..HostOptions::default()
            })
            .map_err(|error| error.to_string())?;
            let agent = &stage.escape;
            let request = stage::request(&world, agent, &WORK, "granted", "host-places")?;
            match host.start(request) {
                Err(error @ StartError::Withheld { .. }) => Ok(error.to_string()),
                Err(error) => Err(format!("it is refused otherwise: {error}")),
                Ok(handle) => {
                    handle.outcome().await;
                    Err("it was granted".to_owned())
                }
            }
        };
        tried.await.into()
    })
}
