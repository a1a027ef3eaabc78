//! What methods say of themselves in `google.api.http`.

use http::Method;
use prost::Message;
use prost_reflect::MethodDescriptor;

use super::template::{InvalidTemplate, Template};

/// One way to call a method by HTTP.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// Any where it is none.
    pub(super) verb: Option<Method>,
    pub(super) template: Template,
    /// What the request's body is: nothing, the whole message (`*`), or a field.
    pub(super) body: Body,
    /// The field that is answered; the whole message where it is empty.
    pub(super) response_body: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Whole,
    Field(String),
}

/// The ways that `method` names, and what is wrong with others.
pub(super) fn bindings(method: &MethodDescriptor) -> (Vec<Binding>, Vec<InvalidTemplate>) {
    let options = method.options().encode_to_vec();
    let rule = Options::decode(options.as_slice()).ok().and_then(|options| options.http);
    let Some(rule) = rule else { return Default::default() };
    let more = rule.additional_bindings.clone();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for rule in std::iter::once(rule).chain(more) {
        match rule.binding() {
            Some(Ok(binding)) => good.push(binding),
            Some(Err(invalid)) => bad.push(invalid),
            None => {}
        }
    }
    (good, bad)
}

/// What is read of a method's options, whether the descriptors know the extension or not.
#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(message, optional, tag = "72295728")]
    http: Option<Rule>,
}

/// `google.api.HttpRule`.
#[derive(Clone, PartialEq, Message)]
struct Rule {
    #[prost(string, optional, tag = "2")]
    get: Option<String>,
    #[prost(string, optional, tag = "3")]
    put: Option<String>,
    #[prost(string, optional, tag = "4")]
    post: Option<String>,
    #[prost(string, optional, tag = "5")]
    delete: Option<String>,
    #[prost(string, optional, tag = "6")]
    patch: Option<String>,
    #[prost(string, tag = "7")]
    body: String,
    #[prost(message, optional, tag = "8")]
    custom: Option<Custom>,
    #[prost(message, repeated, tag = "11")]
    additional_bindings: Vec<Rule>,
    #[prost(string, tag = "12")]
    response_body: String,
}

#[derive(Clone, PartialEq, Message)]
struct Custom {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    path: String,
}

impl Rule {
    fn binding(self) -> Option<Result<Binding, InvalidTemplate>> {
        let custom = self.custom.map(|custom| (Method::from_bytes(custom.kind.as_bytes()).ok(), custom.path));
        let standard = [
            (Method::GET, self.get),
            (Method::PUT, self.put),
            (Method::POST, self.post),
            (Method::DELETE, self.delete),
            (Method::PATCH, self.patch),
        ];
        let standard = standard.into_iter().find_map(|(verb, path)| Some((Some(verb), path?)));
        let (verb, path) = standard.or(custom)?;
        let body = match self.body.as_str() {
            "" => Body::None,
            "*" => Body::Whole,
            field => Body::Field(field.to_owned()),
        };
        let response_body = self.response_body;
        Some(Template::parse(&path).map(|template| Binding { verb, template, body, response_body }))
    }
}
