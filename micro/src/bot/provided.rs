//! Commands that services bring: a service `go.micro.bot.deploy` answers `deploy …`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::answer::Answer;
use crate::call::{Call, Caller, Target, one};
use crate::catalog::Catalog;
use crate::causes::chain;
use crate::schema::Json;

/// How long a service may take to say how its command is used.
const HELP_WITHIN: Duration = Duration::from_secs(2);
/// How many are asked at a time.
const AT_A_TIME: usize = 8;

/// The commands of services, as the registry knows them.
#[derive(Clone, Debug)]
pub(super) struct Provided {
    catalog: Catalog,
    caller: Caller,
    /// With its dot.
    prefix: Arc<str>,
}

impl Provided {
    pub(super) fn new(catalog: Catalog, caller: Caller, namespace: &str) -> Self {
        Self { catalog, caller, prefix: format!("{namespace}.").into() }
    }

    /// The service that answers a line, by its first word.
    pub(super) async fn find(&self, line: &str) -> Option<String> {
        let word = line.split_whitespace().next()?;
        let name = format!("{}{word}", self.prefix);
        // A registry that does not answer keeps nobody from the other commands.
        timeout(HELP_WITHIN, self.catalog.settled()).await.ok();
        self.catalog.services().contains_key(&name).then_some(name)
    }

    /// Has `service` do what `line` says.
    ///
    /// # Errors
    ///
    /// What went wrong, in words.
    pub(super) async fn exec(&self, service: &str, line: &str, within: Duration) -> Result<Answer, String> {
        let args = shlex::split(line).ok_or("a quote is not closed")?;
        let answer = self.ask(service, "Command.Exec", &json!({ "args": args }), within).await?;
        if let Some(error) = answer["error"].as_str().filter(|error| !error.is_empty()) {
            return Err(error.to_owned());
        }
        // JSON has bytes in base 64; a service that has put text there means text.
        let result = answer["result"].as_str().unwrap_or_default();
        let bytes = STANDARD.decode(result).unwrap_or_else(|_| result.as_bytes().to_vec());
        Ok(Answer::output(String::from_utf8_lossy(&bytes)))
    }

    /// Usage and description of every command there is.
    pub(super) async fn usages(&self) -> BTreeMap<String, String> {
        let services = self.catalog.services();
        let names = services.keys().filter(|name| name.starts_with(&*self.prefix)).cloned();
        let names: Vec<_> = names.collect();
        stream::iter(names)
            .map(|name| async move {
                let word = name.strip_prefix(&*self.prefix).unwrap_or(&name).to_owned();
                match self.ask(&name, "Command.Help", &json!({}), HELP_WITHIN).await {
                    Ok(help) => {
                        let text = |key: &str| help[key].as_str().unwrap_or_default().to_owned();
                        let usage = text("usage");
                        (if usage.is_empty() { word } else { usage }, text("description"))
                    }
                    Err(why) => (word, format!("({why})")),
                }
            })
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await
    }

    async fn ask(
        &self,
        service: &str,
        method: &str,
        request: &Value,
        within: Duration,
    ) -> Result<Value, String> {
        let call = Call::new(Target::Service(service.to_owned()), method).timeout(within);
        let asked = async {
            let mut answers =
                self.caller.call(call, one(request.to_string())).await.map_err(|e| chain(&e))?;
            let answer = answers.next().await.ok_or("it gave no answer")?.map_err(|e| chain(&e))?;
            let json = answer.json(&Json::new()).map_err(|error| error.to_string())?;
            serde_json::from_str(&json).map_err(|error| error.to_string())
        };
        timeout(within, asked).await.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
    }
}
