"""Tiny vision-language checkpoints with random weights: the real architectures, in less than a megabyte."""

SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SENTENCES = [
    "This is a sticker used in conversation, please provide several keywords to describe the gesture.",
    "posture, facial expression, verbal, waving, smiling, thumbs up, none, user, assistant",
]
FAMILIES = {
    "qwen2-vl": ("Qwen2VL", {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}),
    "qwen2.5-vl": (
        "Qwen2_5_VL",
        {"hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 64, "fullatt_block_indexes": [1]},
    ),
}


def tiny_vlm(folder, family="qwen2-vl"):
    """Save a checkpoint of one of `FAMILIES`: model, tokenizer, picture processor and chat template.

    Its weights are large enough for answers to depend on picture and question, and in double precision, so that
    rounding decides between no two words. A real one's generation settings, sampling and a repetition penalty, lie
    beside them.
    """
    import torch
    import transformers
    from tokenizers import ByteLevelBPETokenizer

    folder.mkdir(exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(SENTENCES, vocab_size=400, show_progress=False)
    bpe.save_model(str(folder))
    tokenizer = transformers.Qwen2TokenizerFast(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=SPECIAL,
    )
    number = tokenizer.convert_tokens_to_ids
    name, vision = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
            "bos_token_id": None,
            "eos_token_id": number("<|im_end|>"),
            "pad_token_id": number("<|endoftext|>"),
        },
        vision_config={"depth": 2, "num_heads": 2, "initializer_range": 0.2} | vision,
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    with torch.no_grad():
        for token in set(SPECIAL) - {
            "<|im_end|>"
        }:  # a trained model says none of them, and not every server hides them
            model.lm_head.weight[number(token)] = 0
    model.generation_config = transformers.GenerationConfig(
        do_sample=True,
        temperature=0.7,
        repetition_penalty=1.3,
        eos_token_id=number("<|im_end|>"),
        pad_token_id=number("<|endoftext|>"),
    )
    model.double().save_pretrained(folder)
    getattr(transformers, f"{name}Processor")(
        image_processor=transformers.Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen2VLVideoProcessor(),
        chat_template=CHAT,
    ).save_pretrained(folder)
    return folder
