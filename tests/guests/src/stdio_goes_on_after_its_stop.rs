//! The first claimed stop counts: what comes after it is refused, and so is a change of mind.

fn main() {
    println!("{{\"type\":\"avp.agent_stopped\",\"data\":{{\"avp.reason\":\"refused\"}}}}");
    println!(
        "{{\"type\":\"avp.assistant_message\",\"data\":{{\"avp.content\":[{{\"type\":\"text\",\"text\":\"too late\"}}],\"avp.usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}}}"
    );
    println!("{{\"type\":\"avp.agent_stopped\",\"data\":{{\"avp.reason\":\"converged\"}}}}");
}
