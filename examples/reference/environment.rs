//! What the program finds around it, which clap doesn't know: variables of the environment, and files.

/// A variable that the program reads.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether `formgate serve` reads it.
    pub(crate) is_for_serve: bool,
}

pub(crate) const VARIABLES: &[Variable] = &[
    Variable {
        name: "FORMGATE_CONFIG",
        about: "The configuration, where `--config` doesn't name it.",
        is_for_serve: true,
    },
    Variable { name: "NO_COLOR", about: "If it is set and not empty, output has no colour.", is_for_serve: true },
    Variable { name: "TERM", about: "If it is `dumb`, commands write without colour.", is_for_serve: false },
    Variable {
        name: "RUST_LOG",
        about: "How much `formgate serve` logs: `error`, `warn`, `info` (the default) or `debug`.",
        is_for_serve: true,
    },
    Variable { name: "TZ", about: "The time zone of the times that `formgate tail` shows.", is_for_serve: false },
    Variable {
        name: "TMPDIR",
        about: "Where `formgate demo` puts its store, which it removes at the end. The default is `/tmp`.",
        is_for_serve: false,
    },
    Variable {
        name: "SSL_CERT_FILE, SSL_CERT_DIR",
        about: "A file, or a folder, of the certificate authorities to trust instead of the system's.",
        is_for_serve: true,
    },
    Variable {
        name: "CREDENTIALS_DIRECTORY",
        about: "Set by systemd: the folder of the unit's credentials. A secret of the configuration that is written \
                `{ file = \"NAME\" }` is looked for there.",
        is_for_serve: true,
    },
    Variable {
        name: "NOTIFY_SOCKET, WATCHDOG_USEC",
        about: "Set by systemd: `formgate serve` tells it that it serves, reads its configuration again, stops, and is \
                alive.",
        is_for_serve: true,
    },
];

/// What is true of variables that have no name of their own.
pub(crate) const OTHER_VARIABLES: &str = "The configuration can name any other variable as the place of a secret, by \
    `{ env = \"NAME\" }`. Variables that name a proxy, such as `HTTPS_PROXY`, aren't read.";

/// What is where as the Debian package has it, and what it is.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("/etc/formgate/config.toml", "The configuration. A `config.toml` in the current folder goes before it."),
    ("/etc/formgate/sites/*.toml", "The sites, one in each file."),
    ("/etc/formgate/mappings/*.toml", "Mappings of your own."),
    ("/etc/formgate/secrets/", "The sites' keys, readable by the gateway's user alone."),
    (
        "/etc/formgate/credentials/",
        "Secrets readable by root alone, which systemd hands to the gateway when it starts: `NAME` is \
         `{ file = \"secret_NAME\" }` in the configuration.",
    ),
    ("/var/lib/formgate/", "The state directory, `[server].data` in the configuration."),
    ("/var/lib/formgate/formgate.db", "The store: submissions and leads. Its `-wal` file is part of it."),
    ("/var/lib/formgate/spool/", "Leads that wait for a PostgreSQL that is away."),
    ("/var/lib/formgate/last-good/", "The last-good version of the configuration, without its secrets."),
    ("/var/lib/formgate/audit.ndjson", "The audit log."),
    ("/var/lib/formgate/admin.token", "The token of the admin API and the console, unless `[admin].token` sets one."),
    ("/var/lib/formgate/run/admin.sock", "The socket through which commands reach the running gateway."),
];

/// Where these are without the package.
pub(crate) const FILES_ELSEWHERE: &str = "These are the paths of the Debian package. Elsewhere the folders of the \
    configuration lie beside `config.toml`, and so does the state directory, by the name of `data`, unless `[server].data` \
    or `[queue].url` names another.";
