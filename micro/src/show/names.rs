//! What a reply is about, by name alone.

use crate::command::Reply;

/// The names or ids, in order; none where a reply has none.
pub(super) fn names(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Services(services) => services.iter().map(|s| s.name.clone()).collect(),
        Reply::Service(records) => records.iter().flat_map(|r| &r.endpoints).map(|e| e.id.clone()).collect(),
        Reply::Changed(changed) => vec![changed.endpoint.id.clone()],
        Reply::Health(checked) => checked.iter().map(|c| c.id.clone()).collect(),
        Reply::Done(done) => done.service.endpoints.iter().map(|e| e.id.clone()).collect(),
        Reply::Nodes(nodes) => nodes.iter().map(|n| n.id.clone()).collect(),
        Reply::Described(all) => all.iter().map(|d| d.name.clone()).collect(),
        Reply::Published(published) => vec![published.id.clone()],
        Reply::Seen(exchange) => vec![exchange.service.clone()],
        Reply::Heard(heard) => vec![heard.id.clone()],
        Reply::Settings(settings) => settings.iter().map(|s| s.key.clone()).collect(),
        Reply::Contexts(contexts) => contexts.iter().map(|c| c.name.clone()).collect(),
        Reply::Stats(measured) => measured.iter().map(|m| m.id.clone()).collect(),
        Reply::Listening(listening) => vec![listening.url.clone()],
        Reply::Built(built) => vec![built.version.to_owned()],
        Reply::Findings(found) => found.iter().map(|one| one.about.clone()).collect(),
        Reply::Created(created) => created.files.clone(),
        Reply::Benched(benched) => benched.endpoints.iter().map(|one| one.id.clone()).collect(),
        Reply::Progress(_) | Reply::Answer(_) | Reply::Metadata(_) | Reply::Text(_) | Reply::Log(_) => {
            Vec::new()
        }
    }
}
