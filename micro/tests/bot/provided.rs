//! Commands that services bring.

use std::time::Duration;

use micro::bot::{Bot, Rights};
use micro_discover::{Endpoint, Service};

use crate::chat::{registry, say};
use crate::{command, webhook};

#[tokio::test]
async fn its_command_comes_and_goes_with_it() {
    let context = registry("comes-and-goes").await;
    let bot = Bot::builder(context.clone()).rights(Rights::new().change(["webhook:ann"]).unwrap());
    let hook = webhook::run(bot).await;
    let mut number = 0;
    let mut until = async |text: &str, what: &str| {
        loop {
            number += 1;
            let (_, said) = webhook::say(hook, "ann", &number.to_string(), text).await;
            if said.contains(what) {
                return;
            }
            // Nobody may ask more often for long.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    };
    until("deploy greeter", "error executing cmd").await;
    let address = command::serve().await;
    let deploy = Service::new("go.micro.bot.deploy").endpoint(Endpoint::new("a", address.parse().unwrap()));
    context.registry().announce(&deploy, Duration::ZERO).await.unwrap();
    until("deploy greeter", "deployed").await;
    until("help", "deploy SERVICE - Deploys a service").await;
    context.registry().withdraw(&deploy).await.unwrap();
    until("deploy greeter", "error executing cmd").await;
}

#[tokio::test]
async fn who_may_only_look_has_no_service_do_things() {
    let context = registry("looks").await;
    let address = command::serve().await;
    let deploy = Service::new("go.micro.bot.deploy").endpoint(Endpoint::new("a", address.parse().unwrap()));
    context.registry().announce(&deploy, Duration::ZERO).await.unwrap();
    let said = say(Bot::builder(context), "deploy greeter\n").await;
    assert_eq!(said, "you may not have services do things here\n");
}

#[tokio::test]
async fn a_service_brings_a_command_and_its_help() {
    let context = registry("provided").await;
    let address = command::serve().await;
    let deploy = Service::new("go.micro.bot.deploy").endpoint(Endpoint::new("a", address.parse().unwrap()));
    context.registry().announce(&deploy, Duration::ZERO).await.unwrap();
    let bot = Bot::builder(context).rights(Rights::new().change(["terminal:ann"]).unwrap());
    let said = say(bot, "deploy greeter \"1 2\"\ndeploy fail\nhelp\n").await;
    assert!(
        said.starts_with(
            "deployed [\"deploy\", \"greeter\", \"1 2\"]\nerror executing cmd: it does not want to\n"
        ),
        "{said}"
    );
    assert!(said.contains("deploy SERVICE - Deploys a service"), "{said}");
}
