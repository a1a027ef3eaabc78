//! `doctor`: looks at what the settings name, and says so too where they cannot be read.

use super::arguments::Global;
use super::open::context;
use crate::causes::chain;
use crate::command::{Context, Doctor, Failure, Finding, Places};
use crate::settings::{Given, Settings};

/// Tells `doctor` of the settings, or of what is wrong with them, and gives what it works on.
pub(super) fn ready(doctor: &mut Doctor, global: &Global) -> Result<(Context, Option<Settings>), Failure> {
    let given = global.given();
    let settings = given.and_then(|given| Ok((Settings::resolve(&given)?, given)));
    let (settings, given) = match settings {
        Ok(settings) => settings,
        Err(failure) => {
            doctor.wrong = Some(wrong(&failure));
            return Ok((Context::open("memory:")?, None));
        }
    };
    doctor.settings = settings.shown();
    doctor.places = places(&settings, &given);
    match context(&settings, global.insecure) {
        Ok(context) => Ok((context.local(), Some(settings))),
        Err(failure) => {
            doctor.wrong = Some(wrong(&failure));
            Ok((Context::open("memory:")?, Some(settings)))
        }
    }
}

fn places(settings: &Settings, given: &Given) -> Places {
    let own = |name: &str| settings.get(name).map(str::to_owned);
    let proxy = settings.get("proxy").map(|address| match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    });
    let mut places = Places::new(proxy.or_else(|| own("registry")).unwrap_or_default());
    places.broker = own("broker");
    places.transport = own("transport");
    places.file = given.face();
    let files = ["ca", "cert"].into_iter();
    places.certificates = files.filter_map(|name| Some((name, settings.get(name)?.into()))).collect();
    places
}

fn wrong(failure: &Failure) -> Finding {
    let about = failure.what_was_tried().unwrap_or("the settings");
    Finding::failed(
        "setting",
        about,
        chain(failure),
        failure.what_to_try().unwrap_or("micro config validate"),
    )
}
