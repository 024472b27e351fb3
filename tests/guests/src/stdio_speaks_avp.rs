//! A program that speaks AVP over standard streams is an agent; its claims become the trajectory.

use serde_json::{Value, json};

fn main() {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .expect("the commission is one line");
    let commission: Value = serde_json::from_str(&line).expect("the commission is JSON");
    let subject = commission["run_id"]
        .as_str()
        .expect("a commission has a run id");
    let descriptor = json!({
        "spec_version": "0.1",
        "agent_name": "speaker",
        "agent_version": "0.3.0",
        "tools": [{ "name": "look" }],
    });
    let usage = json!({ "input_tokens": 7, "output_tokens": 3 });
    let events = [
        ("run_requested", json!({ "avp.commission": commission })),
        ("agent_described", json!({ "avp.descriptor": descriptor })),
        ("agent_started", json!({ "avp.tools": [] })),
        (
            "assistant_message",
            json!({
                "avp.step": 41,
                "avp.content": [
                    { "type": "text", "text": "Let me look." },
                    { "type": "tool_use", "id": "c1", "name": "look", "input": { "at": "it" } },
                ],
                "avp.usage": usage,
                "avp.cost_usd": 0.5,
                "avp.cost.source": "reported",
            }),
        ),
        (
            "tool_invoked",
            json!({ "avp.tool.call_id": "c1", "avp.tool.name": "look" }),
        ),
        (
            "tool_returned",
            json!({
                "avp.tool.call_id": "c1",
                "avp.tool_result": { "type": "tool_result", "tool_use_id": "c1", "content": "nice" },
            }),
        ),
        ("thought_aloud", json!({ "mood": "good" })),
        (
            "agent_stopped",
            json!({ "avp.reason": "converged", "avp.output": { "seen": "it" } }),
        ),
    ];
    for (kind, data) in events {
        println!(
            "{}",
            json!({ "type": format!("avp.{kind}"), "subject": subject, "id": "forged", "data": data })
        );
    }
    eprintln!("done looking");
}
