"""What a sticker can show: the closed vocabularies that specifications, drawings and taggers share.

Each vocabulary maps the key stored in the data to its Chinese and English description.
"""

Vocabulary = dict[str, tuple[str, str]]

EXPRESSIONS: Vocabulary = {
    "smile": ("微笑", "gentle smile"),
    "grin": ("咧嘴大笑", "big open grin"),
    "laughing_tears": ("笑出眼泪", "laughing with tears"),
    "wink": ("眨眼", "winking"),
    "smirk": ("得意坏笑", "smug smirk"),
    "heart_eyes": ("爱心眼", "heart-shaped eyes"),
    "star_eyes": ("星星眼", "sparkling star eyes"),
    "shy": ("害羞脸红", "shy, blushing"),
    "calm": ("平静", "calm face"),
    "speechless": ("无语死鱼眼", "deadpan, half-closed eyes"),
    "awkward": ("尴尬流汗", "awkward smile with a sweat drop"),
    "confused": ("疑惑皱眉", "puzzled, one brow raised"),
    "surprised": ("瞪眼张嘴", "wide eyes and open mouth"),
    "scared": ("吓得发青", "scared, pale, trembling mouth"),
    "teary": ("泪眼汪汪", "teary eyes"),
    "crying": ("嚎啕大哭", "crying streams of tears"),
    "angry": ("怒目而视", "angry brows, gritted teeth"),
    "shouting": ("怒吼", "shouting with rage"),
    "disgusted": ("嫌弃吐舌", "disgusted, tongue out"),
    "relieved": ("舒了口气", "relieved sigh, closed eyes"),
}

GESTURES: Vocabulary = {
    "arms_down": ("双手下垂", "arms hanging down"),
    "wave": ("挥手", "waving one hand"),
    "thumbs_up": ("竖大拇指", "thumbs up"),
    "thumbs_down": ("拇指朝下", "thumbs down"),
    "clap": ("鼓掌", "clapping hands"),
    "facepalm": ("扶额捂脸", "hand over the face"),
    "hands_on_cheeks": ("双手捧脸", "both hands on the cheeks"),
    "arms_crossed": ("双手抱胸", "arms crossed"),
    "fists_up": ("双拳高举", "both fists raised"),
    "pointing": ("伸手指人", "pointing a finger forward"),
    "shrug": ("摊手耸肩", "shrugging with open palms"),
    "palms_together": ("双手合十", "palms pressed together"),
    "open_arms": ("张开双臂", "arms wide open for a hug"),
    "heart_hands": ("双手比心", "hands forming a heart"),
    "chin_rest": ("托腮思考", "hand on the chin, thinking"),
    "stop_palm": ("伸掌拒绝", "palm held out to say stop"),
    "cover_mouth": ("捂嘴", "hand covering the mouth"),
    "hands_on_hips": ("双手叉腰", "hands on the hips"),
}

POSTURES: Vocabulary = {
    "standing": ("站立", "standing"),
    "sitting": ("坐着", "sitting on the ground"),
    "lying": ("躺平", "lying flat"),
    "jumping": ("跳起", "jumping in the air"),
    "running": ("奔跑", "running"),
    "kneeling": ("跪着", "kneeling"),
    "bowing": ("鞠躬", "bowing"),
    "leaning": ("前倾凑近", "leaning forward"),
    "crouching": ("抱膝蹲着", "crouching, hugging the knees"),
    "slumped": ("瘫倒趴着", "slumped face down over a table"),
    "dancing": ("扭动跳舞", "dancing on one leg"),
}

PROPS: Vocabulary = {
    "none": ("", ""),
    "heart": ("爱心", "floating hearts"),
    "question_mark": ("问号", "question marks"),
    "exclamation": ("感叹号", "exclamation marks"),
    "light_bulb": ("灯泡", "a light bulb"),
    "flower": ("鲜花", "a flower"),
    "trophy": ("奖杯", "a trophy"),
    "confetti": ("彩带", "confetti"),
    "rain_cloud": ("乌云下雨", "a rain cloud"),
    "flames": ("火焰", "flames"),
    "anger_mark": ("怒气符号", "a throbbing anger mark"),
    "sparkles": ("闪光", "sparkles"),
    "milk_tea": ("奶茶", "a cup of milk tea"),
    "blanket": ("毯子", "a blanket"),
    "magnifier": ("放大镜", "a magnifying glass"),
    "melon": ("西瓜", "a slice of watermelon"),
    "sweat": ("冷汗", "drops of cold sweat"),
    "candle": ("蜡烛", "a candle"),
    "sun": ("太阳", "a shining sun"),
    "trash_bin": ("垃圾桶", "a trash bin"),
}

STYLES: Vocabulary = {
    "outline": ("黑线平涂", "black outline, flat colour"),
    "flat": ("无线色块", "flat shapes without outline"),
    "sketch": ("手绘线稿", "hand-drawn pencil sketch on white"),
    "pastel": ("柔和淡彩", "soft pastel with coloured outline"),
    "bold": ("粗线波普", "thick outline, saturated pop colours"),
}
