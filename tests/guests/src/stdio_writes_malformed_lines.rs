//! A malformed line is an error for that line; the run goes on.

fn main() {
    println!("hello, I am not JSON");
    println!("{{\"type\":\"avp.assistant_message\"}}");
    println!("[1, 2, 3]");
    println!();
    println!(
        "{{\"type\":\"avp.assistant_message\",\"data\":{{\"avp.content\":[{{\"type\":\"text\",\"text\":\"still here\"}}],\"avp.usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}}}"
    );
    println!(
        "{{\"type\":\"avp.tool_returned\",\"data\":{{\"avp.tool.call_id\":\"nobody\",\"avp.tool_result\":{{\"content\":\"x\"}}}}}}"
    );
    println!(
        "{{\"type\":\"avp.agent_stopped\",\"data\":{{\"avp.reason\":\"converged\",\"avp.output\":\"fine\"}}}}"
    );
}
