//! Whom a call goes to, which is worked out before anything is sent.

use http::HeaderMap;

use super::call::{Call, USUAL_TIMEOUT};
use super::called::{Parts, failure};
use super::context::Context;
use super::failure::{Failure, Kind};
use super::get::find;
use super::missing;
use crate::call::{Call as Asked, Caller, Target};

impl Call {
    /// Who calls, and what the words say.
    pub(super) async fn begin(&self, context: &Context) -> Result<(Caller, Parts), Failure> {
        let parts = Parts::read(&self.ask.words)?;
        let caller = self.source.caller(context).await?;
        if let Some(flag) = self.beyond_sidecars().filter(|_| caller.is_through()) {
            let what = format!("{flag} cannot be asked of a sidecar, which calls and answers in its own way");
            return Err(Failure::new(Kind::Usage, what).hint("without it, or without --proxy"));
        }
        if let Target::Address(address) = &parts.target
            && caller.is_through()
        {
            let what = format!("a sidecar calls services by their names, and {address} is an address");
            let hint = "the name of a service, with --address for one endpoint of it, or no --proxy";
            return Err(Failure::new(Kind::Usage, what).hint(hint));
        }
        Ok((caller, parts))
    }

    /// The same, aimed at the address that is given; and the one endpoint that is meant.
    pub(super) fn aim(&self, caller: &Caller, parts: &Parts) -> (Parts, Option<String>) {
        // A sidecar calls the endpoint of a service, and takes its address for the endpoint's name.
        let (at, among) = match caller.is_through() {
            true => (None, self.ask.address.as_ref().map(ToString::to_string)),
            false => (self.ask.address.clone(), None),
        };
        let parts = match at {
            Some(address) => parts.clone().at(address),
            None => parts.clone(),
        };
        (parts, self.ask.endpoint.clone().or(among))
    }

    /// The call but for its messages, of somebody who is there: what nobody has is said at once, with the name that was
    /// perhaps meant.
    pub(super) async fn aimed(
        &self,
        context: &Context,
        caller: &Caller,
        parts: &Parts,
        endpoint: Option<&str>,
        headers: HeaderMap,
    ) -> Result<Asked, Failure> {
        let target = parts.target.clone();
        if let Target::Service(name) = &target {
            let records = find(context, name, "call").await?;
            if let Some(wanted) = endpoint {
                let mut endpoints = records.iter().flat_map(|record| &record.endpoints);
                if !endpoints.any(|one| one.id == wanted || one.address.to_string() == wanted) {
                    return Err(missing::endpoint(context, name, wanted, &records));
                }
            }
        }
        let streaming = caller.streams(&target, endpoint, &parts.method).await;
        let streaming = streaming.map_err(|error| failure(&error.into(), parts, context))?;
        let mut call = self.asked(target, parts, headers);
        if let Some(endpoint) = endpoint {
            call = call.endpoint(endpoint);
        }
        Ok(match self.timeout.or((!streaming).then_some(USUAL_TIMEOUT)) {
            Some(timeout) => call.timeout(timeout),
            None => call,
        })
    }

    /// The first flag that is given and of which a sidecar is not told.
    fn beyond_sidecars(&self) -> Option<&'static str> {
        let flags = [
            (!self.source.proto.is_empty(), "--proto"),
            (!self.source.protoset.is_empty(), "--protoset"),
            (self.emit_defaults, "--emit-defaults"),
            (self.proto_names, "--proto-names"),
            (self.enums_as_ints, "--enums-as-ints"),
            (self.allow_unknown, "--allow-unknown"),
            (self.verbose, "--verbose"),
        ];
        flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }
}
