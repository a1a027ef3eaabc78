//! What is asked, and whom: the arguments of everything that calls a method.

#![allow(rustdoc::broken_intra_doc_links, reason = "help texts have what may be left out in brackets")]

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::called::{Parts, failure};
use super::context::Context;
use super::failure::{Failure, Kind};
use super::local::{is_input, is_typed};
use crate::call::{Documents, documents, wrong};

/// A service, a method, and what is sent to it.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ask {
    /// SERVICE METHOD [JSON], SERVICE/METHOD [JSON], or an address for the service
    #[arg(required = true, value_name = "SERVICE METHOD [JSON]")]
    pub words: Vec<String>,
    /// What to send: JSON, @FILE, or - for standard input; several documents for a method that takes a stream
    #[arg(long, short)]
    pub data: Option<String>,
    /// A header to send, or @FILE with one a line; may be given several times
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Only the endpoint with this id or address
    #[arg(long, value_name = "ID")]
    pub endpoint: Option<String>,
    /// The server's address, whatever the registry says
    #[arg(long, short)]
    pub address: Option<micro_discover::Address>,
}

impl Ask {
    /// What is to be sent: JSON, `@FILE` or `-`.
    fn given<'a>(&'a self, parts: &'a Parts) -> Result<Option<&'a str>, Failure> {
        match (&self.data, &parts.json) {
            (Some(_), Some(_)) => {
                let what = "the request is given twice: as an argument, and by --data";
                Err(Failure::new(Kind::Usage, what))
            }
            (data, json) => Ok(data.as_deref().or(json.as_deref())),
        }
    }

    /// The same, as it is typed or read where it is `-`.
    pub(super) async fn documents(&self, context: &Context, parts: &Parts) -> Result<Documents, Failure> {
        match self.given(parts)? {
            Some(data) if is_input(data) => context.documents(data).await,
            Some(data) => Ok(documents(&self.text(context, parts, data).await?)),
            None => Ok(documents("{}")),
        }
    }

    /// All of it, to be sent more than once.
    pub(super) async fn whole(&self, context: &Context, parts: &Parts) -> Result<String, Failure> {
        match self.given(parts)? {
            Some(data) => self.text(context, parts, data).await,
            None => Ok("{}".to_owned()),
        }
    }

    /// The JSON documents that `data` gives.
    async fn text(&self, context: &Context, parts: &Parts, data: &str) -> Result<String, Failure> {
        let text = context.text(data, "the request").await?;
        wrong(&text).map_or(Ok(text), |error| Err(failure(&error, parts, context)))
    }

    /// The headers that are given, which no log shows.
    pub(super) async fn headers(&self, context: &Context) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        for given in &self.header {
            let text = context.text(given, "the header").await?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                // What stands behind the colon may be secret.
                let wrong = || Failure::new(Kind::Usage, "a header is NAME: VALUE").hint("-H 'x-tenant: a'");
                let (name, value) = line.split_once(':').ok_or_else(wrong)?;
                let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
                let mut value: HeaderValue = value.trim().parse().map_err(|_| wrong())?;
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        Ok(headers)
    }

    /// Whether it is typed while the call goes on.
    pub(super) fn is_typed(&self) -> bool {
        is_typed(self.data.as_ref().or(self.words.last()))
    }
}
