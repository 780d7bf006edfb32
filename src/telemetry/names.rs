//! The name of every metric without a `site` label.

/// Requests to the gateway by how they ended.
pub const SUBMISSIONS_RECEIVED: &str = "formgate_submissions_received_total";
/// Requests without a valid credential, by what was wrong with it.
pub const CREDENTIALS_REFUSED: &str = "formgate_credentials_refused_total";
/// Connections closed at once because there were too many.
pub const CONNECTIONS_REFUSED: &str = "formgate_connections_refused_total";
/// Idle connections that were closed for new ones, by reason.
pub const CONNECTIONS_CLOSED: &str = "formgate_connections_closed_total";
/// From a request's first byte to its reply.
pub const ACCEPT_DURATION: &str = "formgate_accept_duration_seconds";
/// How long the store took until an entry was durable.
pub const STORE_APPEND_DURATION: &str = "formgate_store_append_duration_seconds";
/// Bytes of bodies being read now.
pub const READING_BYTES: &str = "formgate_reading_bytes";
/// POSTs to KaiCalls by how they ended.
pub const DELIVERY_ATTEMPTS: &str = "formgate_delivery_attempts_total";
/// How long a POST to KaiCalls took.
pub const DELIVERY_DURATION: &str = "formgate_delivery_duration_seconds";
/// From a lead's arrival to its delivery.
pub const LEAD_AGE: &str = "formgate_lead_age_seconds";
/// Entries in the store by state.
pub const QUEUE_ENTRIES: &str = "formgate_queue_entries";
/// How long the oldest queued entry has waited.
pub const QUEUE_OLDEST_AGE: &str = "formgate_queue_oldest_age_seconds";
/// Sites that are paused because their keys were refused.
pub const SITES_PAUSED: &str = "formgate_sites_paused";
/// Circuits that are open: of so many sites, or of the upstream as a whole.
pub const CIRCUITS_OPEN: &str = "formgate_circuits_open";
/// Attempts after which a lead is to be tried again.
pub const DELIVERY_RETRIES: &str = "formgate_delivery_retries_total";
/// Leads that may have arrived and were asked for, by what was found.
pub const DELIVERY_CONFIRMATIONS: &str = "formgate_delivery_confirmations_total";
/// Reloads of the configuration by result.
pub const CONFIG_RELOADS: &str = "formgate_config_reload_total";
/// Parts of the configuration that are broken or gone now.
pub const CONFIG_BROKEN: &str = "formgate_config_broken";
/// When the configuration was last loaded without an error.
pub const CONFIG_LOADED_AT: &str = "formgate_config_last_reload_success_timestamp_seconds";
/// When the store was last copied by `[backup]`; 0: not that this process knows.
pub const BACKUP_LAST_SUCCESS: &str = "formgate_backup_last_success_timestamp_seconds";
/// Copies by `[backup]` that failed.
pub const BACKUP_FAILURES: &str = "formgate_backup_failures_total";
/// Leads in the spool on this machine, because the shared store is away.
pub const SPOOL_ENTRIES: &str = "formgate_spool_entries";
/// Bytes that the spool takes while it holds leads.
pub const SPOOL_BYTES: &str = "formgate_spool_bytes";
/// 1 if a submission posted now would be stored, as `/readyz` tells.
pub const READY: &str = "formgate_ready";
/// Bytes of the store in use, as `[queue].max_size` counts them.
pub const STORE_BYTES: &str = "formgate_store_bytes";
/// `[queue].max_size`.
pub const STORE_MAX_BYTES: &str = "formgate_store_max_bytes";
/// Bytes free on the disk of the data folder; there is none where nothing is kept on a disk.
pub const DISK_AVAILABLE: &str = "formgate_disk_available_bytes";
/// 1 for each thing that needs a person while submissions are taken all the same.
pub const DEGRADED: &str = "formgate_degraded";
/// Background tasks that ended by themselves and were started again.
pub const TASK_RESTARTS: &str = "formgate_task_restarts_total";
/// Log lines that were dropped because nobody read stderr.
pub const LOG_LINES_DROPPED: &str = "formgate_log_lines_dropped_total";
/// Clients that watch what happens.
pub const STREAMS: &str = "formgate_streams";
/// Gateways that share the store and run, with this one; 0 where the store isn't shared.
pub const GATEWAYS: &str = "formgate_gateways";
/// Partitions of the sites, of 64, that this gateway sends for; 0 where the store isn't shared.
pub const PARTITIONS_HELD: &str = "formgate_partitions_held";
/// Sites in the configuration in force.
pub const SITES: &str = "formgate_sites";
/// When a listener's certificate expires: the first of its chain.
pub const CERTIFICATE_EXPIRY: &str = "formgate_certificate_expiry_timestamp_seconds";
/// When the first of a site's tokens expires; sites without such a token have no series.
pub const TOKEN_EXPIRY: &str = "formgate_token_expiry_timestamp_seconds";
/// Events by sink and by what became of them: sent, or lost (given up after three days).
pub const NOTIFY_EVENTS: &str = "formgate_notify_events_total";
/// Events that wait for a sink.
pub const NOTIFY_BACKLOG: &str = "formgate_notify_backlog";
/// 1 if a sink takes no events.
pub const NOTIFY_FAILING: &str = "formgate_notify_sink_failing";
/// When this process began; this and the others of the process are named as Prometheus' own libraries name them.
pub const PROCESS_START: &str = "process_start_time_seconds";
/// Processor time of this process, in user and system mode.
pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
/// Memory of this process that is in RAM.
pub const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
/// Files that this process has open, connections among them.
pub const PROCESS_OPEN_FILES: &str = "process_open_fds";
/// How many files it may have open.
pub const PROCESS_OPEN_FILES_MAX: &str = "process_max_fds";
/// Always 1; its label is the version.
pub const BUILD_INFO: &str = "formgate_build_info";
