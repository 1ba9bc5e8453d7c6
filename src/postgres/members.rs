//! What a primary holds ready for its standbys: a role and a slot for each.

use tokio_postgres::Client;

use super::{
    error::{ADMINISTRATION, Result, sql, within},
    hba::MEMBERS,
    server::LocalPostgres,
    session,
};
use crate::domain::Incarnation;

/// What pg_rewind's session on its source calls ("pg_rewind", Notes).
const REWIND: &str = "pg_catalog.pg_ls_dir(text, boolean, boolean), \
    pg_catalog.pg_stat_file(text, boolean), \
    pg_catalog.pg_read_binary_file(text), \
    pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)";

/// The table of the barrier and the role of all members.
const SCHEMA: &str = "
create schema if not exists primacy;
create table if not exists primacy.barrier (
    one boolean primary key default true check (one),
    epoch bigint not null, revision bigint not null, at timestamptz not null);
insert into primacy.barrier values (true, 0, 0, now()) on conflict do nothing;";

impl LocalPostgres {
    /// Creates, on a primary, what the barrier and the members need. Commits
    /// without waiting for standbys: without this there can be none.
    ///
    /// # Errors
    /// When it is a standby, or its database is read-only.
    pub async fn prepare_primary(&self) -> Result<()> {
        within(
            "preparation of the primary",
            ADMINISTRATION,
            self.prepare_primary_now(),
        )
        .await
    }

    async fn prepare_primary_now(&self) -> Result<()> {
        let session = self.local_session().await?;
        session
            .batch_execute(SCHEMA)
            .await
            .map_err(sql("create primacy.barrier"))?;
        if !exists(
            &session,
            "select exists (select from pg_roles where rolname = $1)",
            MEMBERS,
        )
        .await?
        {
            let create = format!(
                "begin; create role {MEMBERS} nologin; \
                 grant execute on function {REWIND} to {MEMBERS}; commit"
            );
            session
                .batch_execute(&create)
                .await
                .map_err(sql("create the role of members"))?;
        }
        Ok(())
    }

    /// Makes the roles and slots on this primary those of `members`, itself
    /// included or not. Slots and roles of former incarnations go.
    ///
    /// # Errors
    /// When it is a standby; what was done stands.
    pub async fn ensure_members(&self, members: &[Incarnation]) -> Result<()> {
        let ensured = self.ensure_members_now(members);
        within("creation of roles and slots", ADMINISTRATION, ensured).await
    }

    async fn ensure_members_now(&self, members: &[Incarnation]) -> Result<()> {
        let session = self.local_session().await?;
        for member in members {
            self.ensure_role(&session, *member).await?;
            if *member != self.instance.incarnation {
                ensure_slot(&session, &member.postgres_identifier()).await?;
            }
        }
        drop_others(&session, members).await
    }

    async fn ensure_role(&self, session: &Client, member: Incarnation) -> Result<()> {
        let name = member.postgres_identifier();
        if exists(
            session,
            "select exists (select from pg_roles where rolname = $1)",
            &name,
        )
        .await?
        {
            return Ok(());
        }
        // A verifier has no quote in it, an identifier only hexadecimal digits.
        let verifier = self.instance.secret.verifier(member);
        let create =
            format!("create role {name} login replication password '{verifier}' in role {MEMBERS}");
        session
            .batch_execute(&create)
            .await
            .map_err(sql("create a member's role"))
    }

    /// Ends the sessions of clients that were let in while this was a standby:
    /// a promotion must not show them what is not yet on enough members.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn end_client_sessions(&self) -> Result<()> {
        let query = "select pg_terminate_backend(pid) from pg_stat_activity \
            where backend_type = 'client backend' and application_name not like 'primacy\\_%'";
        let ended = self.session().await?.query(query, &[]).await;
        ended.map_err(sql("end the sessions of clients"))?;
        Ok(())
    }

    /// Ends walsenders of members that have not replied for `silent_ms`: a
    /// connection that is half open keeps the slot from its owner's next one.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn end_half_open(&self, silent_ms: u32) -> Result<()> {
        let query = "select pg_terminate_backend(pid) from pg_stat_replication \
            where application_name like 'primacy\\_%' \
            and reply_time < clock_timestamp() - $1 * interval '1 millisecond'";
        let session = self.session().await?;
        let ended = session.query(query, &[&f64::from(silent_ms)]).await;
        ended.map_err(sql("end half-open walsenders"))?;
        Ok(())
    }

    async fn local_session(&self) -> Result<Client> {
        let session = session::connect(&self.instance, "primacy_members").await?;
        let local = session
            .batch_execute("set synchronous_commit = local")
            .await;
        local.map_err(sql("commit locally"))?;
        Ok(session)
    }
}

async fn exists(session: &Client, query: &str, name: &str) -> Result<bool> {
    let row = session.query_one(query, &[&name]).await;
    Ok(row.map_err(sql("look for a role or slot"))?.get(0))
}

/// A slot keeps WAL from now on, even before its member has ever come. One
/// that lost its WAL to `max_slot_wal_keep_size` would refuse its member for
/// ever; with a new one a clone can come back.
async fn ensure_slot(session: &Client, name: &str) -> Result<()> {
    let lost = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
        where slot_name = $1::name and wal_status = 'lost' and not active";
    session
        .query(lost, &[&name])
        .await
        .map_err(sql("drop a slot that lost its WAL"))?;
    let query = "select pg_create_physical_replication_slot($1, true) where not exists \
        (select from pg_replication_slots where slot_name = $1::name)";
    session
        .query(query, &[&name])
        .await
        .map_err(sql("create a member's slot"))?;
    Ok(())
}

/// Drops what former incarnations left. One that still streams keeps its slot
/// until its connection ends: this runs again.
async fn drop_others(session: &Client, members: &[Incarnation]) -> Result<()> {
    let names: Vec<_> = members.iter().map(|it| it.postgres_identifier()).collect();
    let slots = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
        where slot_name like 'primacy\\_%' and not active and slot_name::text <> all($1)";
    session
        .query(slots, &[&names])
        .await
        .map_err(sql("drop slots of former members"))?;
    let roles = "select rolname::text from pg_roles \
        where rolname ~ '^primacy_[0-9a-f]{32}$' and rolname::text <> all($1)";
    let rows = session.query(roles, &[&names]).await;
    for row in rows.map_err(sql("look for roles of former members"))? {
        let drop = format!("drop role if exists {}", row.get::<_, &str>(0));
        session
            .batch_execute(&drop)
            .await
            .map_err(sql("drop a former member's role"))?;
    }
    Ok(())
}
