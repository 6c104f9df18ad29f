//! The clients of the simulated cluster at their gateways: requests, answers, connections that break.

use node::core::Input;
use node::gateway::api::{Answer, ClientId, Request, Ticket};

use super::client::{self, Wish};
use super::cluster::{Cluster, Event};
use super::plan::{SECOND, US};

/// How long a client waits for an answer.
const CLIENT_PATIENCE: u64 = 12 * SECOND;

impl Cluster<'_> {
    pub(super) fn go(&mut self, id: u32) {
        let nodes = self.machines.len();
        let Some(seat) = self.seats.get_mut(&id) else { return };
        if seat.ticket.is_some() {
            return;
        }
        if !seat.client.is_idle() {
            return self.hand_client(id, None, client::Event::Go);
        }
        if seat.works {
            let wishes = seat.client.next_job(self.now, nodes, &mut self.world);
            self.fulfil(id, wishes);
        }
    }

    pub(super) fn hand_client(&mut self, id: u32, ticket: Option<Ticket>, event: client::Event) {
        let nodes = self.machines.len();
        if let (super::run::OPERATOR, Some(ticket)) = (id, ticket) {
            return self.tell_operator(ticket, event);
        }
        let Some(seat) = self.seats.get_mut(&id) else { return };
        if seat.ticket != ticket {
            return;
        }
        seat.ticket = None;
        let wishes = seat.client.step(self.now, nodes, seat.asked, event, &mut self.world);
        self.fulfil(id, wishes);
    }

    pub(super) fn fulfil(&mut self, id: u32, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Ask(gateway, request) => {
                    let node = match gateway {
                        client::Gateway::Any => self.rng.index(self.machines.len()),
                        client::Gateway::This(node) => node,
                    };
                    let ticket = self.request(node, id, request);
                    let seat = self.seats.get_mut(&id).expect("a client has a seat");
                    seat.ticket = Some(ticket);
                    seat.asked = node;
                }
                Wish::Tell(node, request) => {
                    self.request(node, id, request);
                }
                Wish::Pause(nanos) => self.after(nanos, Event::Go { client: id }),
                Wish::Done => {
                    let pause = self.plan.think.draw(&mut self.rng);
                    self.after(pause, Event::Go { client: id });
                }
            }
        }
    }

    /// Sends a client's request on its way.
    pub(super) fn request(&mut self, node: usize, client: u32, request: Request) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.note(|| format!("c{client} asks n{} {request:?}", node + 1));
        let start = self.machines[node].starts;
        let delay = self.rng.between(20 * US, 500 * US);
        let (request, ticket_there) = (Box::new(request), Some(ticket));
        let event = Event::ToGateway { node, start, client, ticket: ticket_there, request };
        self.after(delay, event);
        self.after(CLIENT_PATIENCE, Event::Lost { client, ticket });
        ticket
    }

    pub(super) fn reach_gateway(
        &mut self,
        node: usize,
        start: u32,
        client: u32,
        ticket: Option<Ticket>,
        request: Request,
    ) {
        let Some(ticket) = ticket else { return };
        let machine = &mut self.machines[node];
        match &mut machine.process {
            Some(process) if machine.starts == start => {
                process.tickets.insert(ticket, client);
                let client = ClientId(u64::from(client));
                let input = node::gateway::Input::Request { client, ticket, request };
                self.input(node, Input::Gateway(input));
            }
            _ => self.after(100 * US, Event::Lost { client, ticket }),
        }
    }

    pub(super) fn answer(&mut self, node: usize, ticket: Ticket, answer: Answer) {
        let Some(process) = &mut self.machines[node].process else { return };
        let Some(client) = process.tickets.remove(&ticket) else {
            panic!("n{} answers {ticket:?} twice, or was never asked", node + 1)
        };
        let delay = self.rng.between(20 * US, 500 * US);
        let answer = Box::new(answer);
        self.after(delay, Event::Answered { client, ticket, answer });
    }
}
