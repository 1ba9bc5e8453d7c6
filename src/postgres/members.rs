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
        // The usual case, on a new primary, is that roles came with the log
        // and slots, which do not, are missing.
        let session = self.session().await?;
        let there = There::look(&session).await?;
        let missing = |member: &&Incarnation| !there.roles.contains(&member.postgres_identifier());
        let strangers: Vec<_> = members.iter().filter(missing).collect();
        if !strangers.is_empty() {
            let local = self.local_session().await?;
            for member in strangers {
                self.create_role(&local, *member).await?;
            }
        }
        let others = members
            .iter()
            .filter(|it| **it != self.instance.incarnation);
        ensure_slots(&session, &there, others).await?;
        let names: Vec<_> = members.iter().map(|it| it.postgres_identifier()).collect();
        let former = there.roles.iter().filter(|role| !names.contains(role));
        let former: Vec<_> = former.map(String::as_str).collect();
        drop_idle_slots(&session, &there, &names).await?;
        if !former.is_empty() {
            drop_roles(&self.local_session().await?, &former).await?;
        }
        Ok(())
    }

    /// Creates the slots of `siblings`, on a primary or on what becomes one.
    pub(super) async fn prepare_slots(&self, siblings: &[Incarnation]) -> Result<()> {
        let session = self.session().await?;
        let there = There::look(&session).await?;
        ensure_slots(&session, &there, siblings.iter()).await
    }

    async fn create_role(&self, session: &Client, member: Incarnation) -> Result<()> {
        let name = member.postgres_identifier();
        // A verifier has no quote in it, an identifier only hexadecimal digits.
        let verifier = self.instance.secret.verifier(member);
        let create =
            format!("create role {name} login replication password '{verifier}' in role {MEMBERS}");
        session
            .batch_execute(&create)
            .await
            .map_err(sql("create a member's role"))
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

/// Roles and slots that there are.
struct There {
    roles: Vec<String>,
    slots: Vec<Slot>,
}

struct Slot {
    name: String,
    active: bool,
    /// It lost its WAL to `max_slot_wal_keep_size`, and would refuse its
    /// member for ever; with a new one a clone can come back.
    lost: bool,
}

impl There {
    async fn look(session: &Client) -> Result<Self> {
        let query = "select rolname::text as name, null::boolean as active, false as lost \
              from pg_roles where rolname ~ '^primacy_[0-9a-f]{32}$' \
            union all select slot_name::text, active, wal_status = 'lost' \
              from pg_replication_slots where slot_name like 'primacy\\_%'";
        let rows = session.query(query, &[]).await;
        let (mut roles, mut slots) = (Vec::new(), Vec::new());
        for row in rows.map_err(sql("look for roles and slots"))? {
            let name = row.get("name");
            match row.get("active") {
                None => roles.push(name),
                Some(active) => slots.push(Slot {
                    name,
                    active,
                    lost: row.get::<_, Option<_>>("lost").unwrap_or(false) && !active,
                }),
            }
        }
        Ok(Self { roles, slots })
    }

    fn holds_slot(&self, name: &str) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.name == name && !slot.lost)
    }
}

/// A slot keeps WAL from now on, even before its member has ever come.
async fn ensure_slots(
    session: &Client,
    there: &There,
    members: impl Iterator<Item = &Incarnation>,
) -> Result<()> {
    let lost: Vec<_> = there.slots.iter().filter(|slot| slot.lost).collect();
    drop_slots(session, &lost).await?;
    let missing: Vec<_> = members
        .map(|member| member.postgres_identifier())
        .filter(|name| !there.holds_slot(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let query =
        "select pg_create_physical_replication_slot(name, true) from unnest($1::text[]) name";
    let created = session.query(query, &[&missing]).await;
    created.map_err(sql("create the slots of members"))?;
    Ok(())
}

/// Drops what former incarnations left. One that still streams keeps its slot
/// until its connection ends: this runs again.
async fn drop_idle_slots(session: &Client, there: &There, names: &[String]) -> Result<()> {
    let idle = |slot: &&Slot| !slot.active && !slot.lost && !names.contains(&slot.name);
    let idle: Vec<_> = there.slots.iter().filter(idle).collect();
    drop_slots(session, &idle).await
}

async fn drop_slots(session: &Client, slots: &[&Slot]) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = slots.iter().map(|slot| slot.name.as_str()).collect();
    let query = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
        where slot_name::text = any($1) and not active";
    let dropped = session.query(query, &[&names]).await;
    dropped.map_err(sql("drop slots of former members"))?;
    Ok(())
}

async fn drop_roles(session: &Client, names: &[&str]) -> Result<()> {
    let drop = format!("drop role if exists {}", names.join(", "));
    session
        .batch_execute(&drop)
        .await
        .map_err(sql("drop the roles of former members"))
}
