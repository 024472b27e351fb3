//! The words in which servers say that a conversation is too long for a model.
//!
//! Few have a code for it. Whoever recognises it makes room and goes on; whoever does not, ends there.

/// Who says it, where the words are from, and what they have in common, in lower case: all parts occur.
struct Words {
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader of the table"))]
    server: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader of the table"))]
    source: &'static str,
    parts: &'static [&'static str],
}

const fn words(
    server: &'static str,
    source: &'static str,
    parts: &'static [&'static str],
) -> Words {
    Words {
        server,
        source,
        parts,
    }
}

#[rustfmt::skip]
const TABLE: &[Words] = &[
    words("OpenAI, vLLM, DeepSeek, OpenRouter, SGLang, Mistral", "github.com/vllm-project/vllm: vllm/entrypoints; platform.openai.com/docs/guides/error-codes", &["maximum context length"]),
    words("OpenAI", "the Responses API: `context_length_exceeded`", &["exceeds the context window"]),
    words("OpenAI-compatible gateways", "github.com/BerriAI/litellm: litellm_core_utils/exception_mapping_utils.py", &["context length exceeded"]),
    words("OpenAI-compatible gateways", "the code as a text", &["context_length_exceeded"]),
    words("MiniMax", "code 2013", &["context window exceeds limit"]),
    words("Anthropic", "docs.anthropic.com/en/docs/build-with-claude/context-windows", &["prompt is too long"]),
    words("Anthropic", "docs.anthropic.com/en/docs/build-with-claude/context-windows", &["input length and", "max_tokens", "exceed context limit"]),
    words("Gemini", "github.com/google-gemini/gemini-cli", &["input token count", "exceeds the maximum number of tokens"]),
    words("Gemini, Vertex AI", "cloud.google.com/vertex-ai", &["input token count", "but model only supports up to"]),
    words("Ollama", "github.com/ollama/ollama: server/prompt.go", &["prompt too long; exceeded max context length"]),
    words("Ollama", "github.com/ollama/ollama: llm/server.go", &["input exceeds maximum context length"]),
    words("Ollama", "github.com/ollama/ollama: runner", &["the input length exceeds the context length"]),
    words("llama.cpp", "github.com/ggml-org/llama.cpp: tools/server", &["available context size"]),
    words("llama.cpp", "github.com/ggml-org/llama.cpp: tools/server", &["exceeds context size"]),
    words("llama.cpp", "github.com/ggml-org/llama.cpp: tools/server", &["input is larger than the max context size"]),
    words("LM Studio", "github.com/lmstudio-ai/lmstudio-bug-tracker", &["tokens to keep from the initial prompt is greater than the context length"]),
    words("LM Studio", "github.com/lmstudio-ai/lmstudio-bug-tracker", &["trying to keep the first", "context the overflows"]),
    words("LM Studio", "github.com/lmstudio-ai/lmstudio-bug-tracker", &["model is loaded with context length of only"]),
    words("vLLM", "github.com/vllm-project/vllm: vllm/v1/engine", &["prompt", "longer than the maximum model length"]),
    words("vLLM", "github.com/vllm-project/vllm: vllm/entrypoints", &["tokens", "is longer than the model's context length"]),
    words("SGLang", "github.com/sgl-project/sglang: managers/tokenizer_manager.py", &["is longer than the model's context length"]),
    words("SGLang", "github.com/sgl-project/sglang: managers/tokenizer_manager.py", &["requested token count exceeds the model's maximum context length"]),
    words("TGI, Together", "github.com/huggingface/text-generation-inference: router/src/validation.rs", &["inputs` tokens + `max_new_tokens` must be"]),
    words("TGI", "github.com/huggingface/text-generation-inference: router/src/validation.rs", &["`inputs` must have less than"]),
    words("xAI", "docs.x.ai", &["maximum prompt length"]),
    words("Bedrock", "github.com/aws/amazon-bedrock-samples", &["input is too long for requested model"]),
    words("Bedrock", "the wrapped words of its models", &["input exceeds the max input token limit"]),
    words("Bedrock", "Nova and Llama", &["input tokens exceeded"]),
    words("Kimi", "platform.moonshot.ai/docs/api/errors", &["exceeded model token limit"]),
    words("Kimi", "platform.moonshot.ai/docs/api/errors", &["input token length too long"]),
    words("Z.ai", "docs.z.ai: code 1261", &["prompt exceeds max length"]),
    words("Cohere", "docs.cohere.com/reference/errors", &["total number of tokens", "cannot exceed"]),
    words("Cohere", "docs.cohere.com/reference/errors", &["too many tokens", "size limit exceeded"]),
    words("Mistral", "docs.mistral.ai", &["too large for model with", "context length"]),
    words("Groq", "console.groq.com/docs/errors", &["reduce the length of the messages"]),
    words("Together", "docs.together.ai", &["max_new_tokens", "context"]),
    words("Fireworks", "docs.fireworks.ai", &["prompt is too long"]),
    words("Cerebras", "inference-docs.cerebras.ai", &["current length is", "while limit is"]),
    words("DashScope (Qwen)", "alibabacloud.com/help/en/model-studio/error-code", &["range of input length should be"]),
    words("GitHub Copilot", "`model_max_prompt_tokens_exceeded`", &["prompt token count", "exceeds the limit"]),
    words("Cohere", "docs.cohere.com/reference/errors", &["too many tokens", "in the prompt exceeds the limit"]),
    words("Cohere", "github.com/openclaw/openclaw/issues/58839", &["total tokens exceeds the model's max"]),
    words("Bedrock", "github.com/openclaw/openclaw/issues/58839", &["the input is too long"]),
    words("Others", "github.com/openclaw/openclaw/issues/58839", &["input is too long for model"]),
    words("Others", "github.com/openclaw/openclaw/issues/58839", &["maximum number of input tokens"]),
    words("Others", "the phrase itself", &["exceeds the context"]),
    words("Others", "the phrase itself", &["exceeds the model's context"]),
    words("Others", "the phrase itself", &["exceeded", "context window"]),
    words("Others", "the phrase itself", &["exceeds", "context window"]),
];

/// What is said of too many tokens in a time, not in a conversation.
const THROTTLING: [&str; 9] = [
    "please wait",
    "per minute",
    "per min",
    "per day",
    "per second",
    "rate limit",
    "ratelimit",
    "throttl",
    "too many requests",
];

/// Whether a message says that the conversation is too long.
pub(super) fn is_told_in(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    !throttles(&message)
        && TABLE
            .iter()
            .any(|words| words.parts.iter().all(|part| message.contains(part)))
}

/// Whether a message says that there were too many tokens or requests in a time.
pub(super) fn is_throttling(message: &str) -> bool {
    throttles(&message.to_ascii_lowercase())
}

fn throttles(message: &str) -> bool {
    THROTTLING.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As servers have said it, one line a server.
    const SAID: [&str; 34] = [
        "prompt too long; exceeded max context length by 918 tokens",
        "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        "Input is too long for requested model.",
        "The model returned the following errors: input exceeds the max input token limit",
        "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 5000 >= n_ctx: 4096)",
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens",
        "Invalid request: Your request exceeded model token limit: 131072",
        "invalid params, context window exceeds limit (2013)",
        "Prompt exceeds max length",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193.",
        "total number of tokens (prompt and prediction) cannot exceed 4081",
        "too many tokens: size limit exceeded by 13000 tokens. Try using shorter or fewer inputs.",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        "This model's maximum context length is 4096 tokens. However, you requested 0 output tokens and your prompt contains at least 4097 input tokens.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "request (6009 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Unable to submit request because the input token count is 1200000 but model only supports up to 1048576.",
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens.",
        "Please reduce the length of the messages or completion.",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "Requested token count exceeds the model's maximum context length of 32768 tokens.",
        "the input length exceeds the context length",
        "Range of input length should be [1, 129024]",
        "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        "ollama: context length exceeded for llama3",
        "Too many tokens: the total number of tokens in the prompt exceeds the limit of 4081.",
        "total tokens exceeds the model's max of 4096",
        "Input length (265330) exceeds model's maximum context length (262144).",
        "prompt token count of 140000 exceeds the limit of 128000",
    ];

    #[test]
    fn a_conversation_that_is_too_long_is_recognised() {
        for said in SAID {
            assert!(is_told_in(said), "{said}");
        }
    }

    #[test]
    fn too_many_tokens_in_a_time_and_other_refusals_are_something_else() {
        for said in [
            "Too many tokens, please wait before trying again.",
            "Rate limit reached for gpt-5 on tokens per min (TPM): Limit 30000, Used 22999, Requested 12528.",
            "Request too large on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your message size",
            "max_tokens is too large: 200000. This model supports at most 16384 completion tokens",
            "Invalid value for `temperature`",
            "the context of this question is missing",
            "",
        ] {
            assert!(!is_told_in(said), "{said}");
        }
        assert!(is_throttling(
            "Too many tokens, please wait before trying again."
        ));
    }

    #[test]
    fn every_line_of_the_table_has_a_source_and_is_in_lower_case() {
        for words in TABLE {
            assert!(
                !words.server.is_empty() && !words.source.is_empty() && !words.parts.is_empty()
            );
            for part in words.parts {
                assert_eq!(*part, part.to_ascii_lowercase());
            }
        }
    }
}
