//! The pages of the guide, so that their code is compiled and run.

#[doc = include_str!("../../docs/tonic-service.md")]
struct TonicService;

#[doc = include_str!("../../docs/client.md")]
struct Client;

#[doc = include_str!("../../docs/kubernetes.md")]
struct Kubernetes;

#[doc = include_str!("../../docs/extend.md")]
struct Extend;

#[doc = include_str!("../../docs/coming-from.md")]
struct ComingFrom;
