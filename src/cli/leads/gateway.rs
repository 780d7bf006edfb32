//! The configuration of a command on leads, and the gateway that runs with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::remote::{Hello, Remote};
use crate::admin;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::gateway_user::as_gateway_user;
use crate::cli::rules::{ConfigArg, today};
use crate::config::{self, Config, Sources, Starting};

/// Finds the gateway that the configuration names, or the command line; none where nobody answers.
pub(in crate::cli) async fn gateway(
    config: &ConfigArg,
    admin: Option<&str>,
    console: &mut Console,
) -> Result<Option<Remote>, Error> {
    find_gateway(&read_config(config, console)?, admin).await
}

/// Reads the configuration as a gateway that starts now would: what is broken in it keeps nobody from the leads.
pub(in crate::cli) fn read_config(arg: &ConfigArg, console: &mut Console) -> Result<Config, Error> {
    let path = existing(arg)?;
    let starting = config::start(&path, &Sources::command_line(), today());
    usable(&path, starting, console)
}

/// The same, reading as the user whose gateway it is.
pub(in crate::cli) fn read_config_as_gateway(arg: &ConfigArg, console: &mut Console) -> Result<Config, Error> {
    let path = existing(arg)?;
    let starting = as_gateway_user(&path, console, || config::start(&path, &Sources::command_line(), today()));
    usable(&path, starting, console)
}

fn existing(arg: &ConfigArg) -> Result<PathBuf, Error> {
    let path = arg.find()?;
    // One that this user may not see is told of when it is read.
    if !matches!(path.try_exists(), Ok(false)) {
        return Ok(path);
    }
    // A mistyped path: the copy beside it would stand in unseen.
    Err(Error::config(anyhow!("{} doesn't exist", path.display())).hint("check --config"))
}

fn usable(path: &Path, starting: Starting, console: &mut Console) -> Result<Config, Error> {
    let Starting { loaded, in_force, stand_ins } = starting;
    let Some((config, _)) = in_force else {
        console.say(loaded.diagnostics.render(console.talk_paint().colour));
        let error = Error::config(anyhow!("{} has errors", path.display()));
        return Err(error.hint("`formgate check` shows every problem"));
    };
    if stand_ins.iter().any(|stand_in| !stand_in.fault.is_lack()) {
        console.say("part of the configuration is broken or missing; run `formgate check`");
    } else if !stand_ins.is_empty() {
        console.say("keys, secrets or mappings of sites are missing; run `formgate check`");
    }
    Ok(config)
}

/// Asks whether a gateway answers where the configuration, or the command line, says.
pub(in crate::cli) async fn find_gateway(config: &Config, admin: Option<&str>) -> Result<Option<Remote>, Error> {
    if admin.is_none()
        && let Some(remote) = by_socket(config).await?
    {
        return Ok(Some(remote));
    }
    let of_config = || reachable(config.admin.listen).map(|address| address.to_string());
    let Some(address) = admin.map(str::to_owned).or_else(of_config) else { return Ok(None) };
    // A token that can't be read is as good as none: the gateway says whether one is needed.
    let token = admin::read_token(config).unwrap_or_default();
    match Remote::hello(&address, token).await? {
        Hello::Answered(remote) => Ok(Some(remote)),
        Hello::Nobody if admin.is_some() => {
            let error = Error::admin(anyhow!("no gateway answers at {address}"));
            Err(error.hint("is it running? Without --admin, the address comes from the configuration"))
        }
        Hello::Nobody => Ok(None),
    }
}

/// Reaches the gateway through its socket, where there is one.
async fn by_socket(config: &Config) -> Result<Option<Remote>, Error> {
    let Some(socket) = admin::socket_file(config) else { return Ok(None) };
    match Remote::hello_socket(&socket).await? {
        Hello::Answered(remote) => Ok(Some(remote)),
        Hello::Nobody => Ok(None),
    }
}

/// Returns where a listener is reached from this machine; none where its port is not known before it runs.
fn reachable(listen: SocketAddr) -> Option<SocketAddr> {
    let host = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    (listen.port() != 0).then_some(SocketAddr::new(host, listen.port()))
}
