//! Commands that services bring.

use std::time::Duration;

use micro::bot::{Bot, Rights};
use micro_discover::{Endpoint, Service};

use crate::chat::{registry, say};
use crate::command;

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
