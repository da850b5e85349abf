//! The application: it takes what it is given, or holds back, and remembers what it was told.

use std::collections::BTreeMap;

use tcpstack::{ConnId, Stack};

use crate::flow::Flow;
use crate::script::Told;
use crate::setup;
use crate::wire::News;
use crate::words::Fault;

/// All flows of a script, and what was told about none of them.
#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) flows: BTreeMap<usize, Flow>,
    pub(crate) told: Vec<Told>,
    /// What went wrong while nobody could be told.
    pub(crate) fault: Option<Fault>,
}

impl App {
    fn of_conn(&mut self, conn: ConnId) -> Option<&mut Flow> {
        self.flows.values_mut().find(|flow| flow.conn == Some(conn))
    }

    /// Takes what the stack says.
    pub(crate) fn hear(&mut self, stack: &mut Stack, news: News) {
        if let Err(fault) = self.try_hear(stack, news) {
            self.fault.get_or_insert(fault);
        }
    }

    fn try_hear(&mut self, stack: &mut Stack, news: News) -> Result<(), Fault> {
        let event = match news {
            News::Octets(conn, octets) => return self.take(stack, conn, &octets),
            News::Event(event) => event,
        };
        let Some((conn, told)) = setup::told(event) else { return Ok(()) };
        let Some(conn) = conn else {
            self.told.push(told);
            return Ok(());
        };
        if told == Told::Accepted {
            let ends = setup::ends(stack, conn);
            let flow = self.flows.values_mut().find(|flow| Some((flow.peer, flow.own)) == ends);
            flow.ok_or("accepted a connection that no flow has")?.begin(conn);
        }
        let flow = self.of_conn(conn).ok_or_else(|| format!("{told} for no connection"))?;
        if matches!(told, Told::Closed(_)) {
            flow.conn = None;
        }
        let is_readable = told == Told::Readable;
        flow.told.push_back(told);
        if is_readable && !flow.holding { read(stack, flow, usize::MAX) } else { Ok(()) }
    }

    /// Octets in a frame: the application's, unless it leaves them.
    fn take(&mut self, stack: &mut Stack, conn: ConnId, octets: &[u8]) -> Result<(), Fault> {
        let flow = self.of_conn(conn).ok_or("octets for no connection")?;
        if flow.holding || stack.backlog(conn) > 0 {
            stack.keep(conn, octets);
            return if flow.holding { Ok(()) } else { read(stack, flow, usize::MAX) };
        }
        stack.keep(conn, &[]);
        flow.deliver(octets)
    }
}

/// Takes up to `count` octets out of the stack's buffer.
pub(crate) fn read(stack: &mut Stack, flow: &mut Flow, count: usize) -> Result<(), Fault> {
    let Some(conn) = flow.conn else { return Err("there is no connection".to_owned()) };
    let mut octets = vec![0; stack.backlog(conn).min(count)];
    let found = stack.peek(conn, &mut octets);
    stack.consume(conn, found);
    if count != usize::MAX && found != count {
        return Err(format!("expected {count} octets in the buffer, came {found}"));
    }
    flow.deliver(&octets[..found])
}
