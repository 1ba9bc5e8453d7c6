use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::{TcpListener, TcpStream},
};

use super::*;

#[test]
fn a_standbys_refusal_proves_that_nothing_was_written() {
    let code = SqlState::from_code("25006");
    assert!(proves_nothing_written(Some(Severity::Error), &code));
}

#[test]
fn an_error_that_can_follow_a_commit_proves_nothing() {
    // Cancelled, going down, crashed, connection lost, a duplicate, the unheard of.
    let codes = [
        "57014", "57P01", "57P02", "08006", "23505", "XX000", "99999",
    ];
    for code in codes.map(SqlState::from_code) {
        let proven = proves_nothing_written(Some(Severity::Error), &code);
        assert!(!proven, "{code:?}");
    }
}

#[test]
fn a_session_that_dies_proves_nothing_whatever_it_says() {
    for severity in [Some(Severity::Fatal), Some(Severity::Panic), None] {
        let code = &SqlState::READ_ONLY_SQL_TRANSACTION;
        assert!(!proves_nothing_written(severity, code));
    }
}

#[tokio::test]
async fn a_row_is_written_on_the_timeline_that_the_server_names() {
    let replies = [bound(), row(0x8000_0007), complete(), ready()];
    assert_eq!(inserted(replies.concat()).await, Ok(0x8000_0007));
}

#[tokio::test]
async fn a_commit_that_waited_for_nobody_is_not_acknowledged() {
    let warning = said(b'N', "WARNING", "01000", "canceling wait for replication");
    let replies = [bound(), row(7), complete(), warning, ready()];
    let ended = inserted(replies.concat()).await;
    let Err(InsertError::Unknown(why)) = ended else {
        panic!("{ended:?}");
    };
    assert!(why.contains("canceling wait"), "{why}");
}

#[tokio::test]
async fn a_row_that_is_complete_is_not_committed_yet() {
    // The server goes away between the statement's end and the transaction's.
    let ended = inserted([bound(), row(7), complete()].concat()).await;
    assert!(matches!(ended, Err(InsertError::Unknown(_))), "{ended:?}");
}

#[tokio::test]
async fn an_error_is_as_certain_as_its_code() {
    let refused = said(b'E', "ERROR", "25006", "read-only");
    let ended = inserted([refused, ready()].concat()).await;
    assert!(matches!(ended, Err(InsertError::Refused(_))), "{ended:?}");

    let cancelled = said(b'E', "ERROR", "57014", "canceled");
    let ended = inserted([cancelled, ready()].concat()).await;
    assert!(matches!(ended, Err(InsertError::Unknown(_))), "{ended:?}");
}

/// What is known of a row after a server answered with `replies` and went away.
async fn inserted(replies: Vec<u8>) -> Result<u32, InsertError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let login = Login {
        address: listener.local_addr().unwrap(),
        user: "app",
        password: String::new(),
        table: "writes",
        statement_timeout: Duration::from_secs(1),
    };
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(BufStream::new(stream), &replies).await;
    });
    let limit = Duration::from_secs(10);
    let session = Session::open(&login, limit).await.unwrap();
    let ended = time::timeout(limit, session.insert(1)).await.unwrap();
    server.await.unwrap();
    ended
}

/// Lets anybody in, prepares one statement and answers its execution.
async fn serve(mut stream: BufStream<TcpStream>, replies: &[u8]) {
    let length = stream.read_u32().await.unwrap();
    skip(&mut stream, length).await;
    let welcome = [message(b'R', &0_u32.to_be_bytes()), ready()];
    let prepared = [message(b'1', b""), parameters(), columns(), ready()];
    for reply in [welcome.concat(), prepared.concat()] {
        stream.write_all(&reply).await.unwrap();
        stream.flush().await.unwrap();
        until_sync(&mut stream).await;
    }
    stream.write_all(replies).await.unwrap();
    stream.flush().await.unwrap();
}

async fn until_sync(stream: &mut BufStream<TcpStream>) {
    loop {
        let tag = stream.read_u8().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        skip(stream, length).await;
        if tag == b'S' {
            return;
        }
    }
}

/// A length counts itself.
async fn skip(stream: &mut BufStream<TcpStream>, length: u32) {
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// One, an `int8`.
fn parameters() -> Vec<u8> {
    message(
        b't',
        &[&1_u16.to_be_bytes()[..], &20_u32.to_be_bytes()].concat(),
    )
}

/// One, an `int4`, in binary.
fn columns() -> Vec<u8> {
    let table = [0; 6];
    let kind = 23_u32.to_be_bytes();
    let size = 4_u16.to_be_bytes();
    let modifier = u32::MAX.to_be_bytes();
    let parts = [
        b"\0\x01int4\0",
        &table[..],
        &kind,
        &size,
        &modifier,
        b"\0\x01",
    ];
    message(b'T', &parts.concat())
}

fn bound() -> Vec<u8> {
    message(b'2', b"")
}

fn row(value: u32) -> Vec<u8> {
    let parts = [
        &1_u16.to_be_bytes()[..],
        &4_u32.to_be_bytes(),
        &value.to_be_bytes(),
    ];
    message(b'D', &parts.concat())
}

fn complete() -> Vec<u8> {
    message(b'C', b"INSERT 0 1\0")
}

/// An error or a notice.
fn said(tag: u8, severity: &str, code: &str, text: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0");
    message(tag, fields.as_bytes())
}
