"""Captions that name the objects of a layout and nothing else: 一只猫和两辆车.

A noun's measure word hangs on how it ends (公交车 as 车); of what is not in the table it is 个. A name that says where
its object is (桌上的花) is called by its last part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gillnext.filter.lexicon import Lexicon

DIGITS = "零一二三四五六七八九"
COUNTED = "一二两三四五六七八九十几双半群些"  # a name that begins so has its own number
MEASURES = {
    "只": "猫 狗 犬 鸟 鸡 鸭 鹅 兔 虎 狮 猴 羊 象 熊 鹿 鼠 龟 蛙 蝶 蜂 鹰 燕 鸽 猫咪 小鸟 兔子 猴子 狮子 老虎 杯 碗 "
    "手 脚 眼 耳 耳朵 箱子 气球 鞋 袜子",
    "条": "鱼 蛇 龙 河 路 街 道 裤 裤子 裙 裙子 毛巾 围巾 领带 项链 绳 绳子 腿 尾巴",
    "匹": "马 狼 骆驼",
    "头": "牛 猪 驴 大象",
    "辆": "车 坦克 轿车 汽车 自行车 摩托车",
    "架": "飞机 直升机 钢琴 相机 无人机",
    "艘": "船 舰 艇 帆船 轮船",
    "列": "火车 地铁 高铁",
    "棵": "树 草 白菜 竹子 松",
    "朵": "花 云 玫瑰 蘑菇",
    "座": "山 房子 塔 桥 楼 宫 庙 教堂 城堡 雕像 岛 亭子",
    "栋": "别墅 大楼 房屋 建筑",
    "张": "桌 桌子 床 纸 照片 地图 海报 沙发 椅 脸 嘴 票 卡",
    "把": "椅子 刀 伞 雨伞 剑 枪 钥匙 扇子 吉他 梳子 勺子 叉子 剪刀 壶 锁",
    "本": "书 杂志 笔记本 字典",
    "件": "衣服 衣 衬衫 外套 毛衣 大衣 夹克",
    "双": "筷子 鞋子 手套 眼睛",
    "顶": "帽 帽子 帐篷",
    "台": "电脑 电视 电视机 冰箱 洗衣机 空调 机器 手机 显示器",
    "部": "电话 电梯",
    "支": "笔 铅笔 蜡烛 烟",
    "瓶": "酒 水 饮料",
    "块": "石头 石 蛋糕 手表 木板 草地",
    "面": "镜子 旗 旗子 墙 国旗",
    "扇": "门 窗 窗户",
    "盏": "灯 台灯 路灯",
    "幅": "画 油画",
    "颗": "星星 星 糖 珍珠 牙",
    "根": "香蕉 柱子 蜡 羽毛 棍子",
    "片": "叶 叶子 树叶 云彩",
    "副": "眼镜 墨镜",
    "套": "西装 房",
}
_MEASURE = {noun: measure for measure, nouns in MEASURES.items() for noun in nouns.split()}
_LONGEST = max(map(len, _MEASURE))


def number(count: int) -> str:
    """A number of things, in characters up to 99: 一, 两, 三, …, 十, 十一, …; in digits beyond."""
    if count == 2:
        return "两"
    if count > 99:
        return str(count)
    tens, ones = divmod(count, 10)
    return ("" if tens < 2 else DIGITS[tens]) + "十" * (tens > 0) + (DIGITS[ones] if ones or not tens else "")


def measure(noun: str) -> str:
    """The measure word of a noun, by the longest of its endings that is known."""
    endings = (noun[-n:] for n in range(min(_LONGEST, len(noun)), 0, -1))
    return next((_MEASURE[ending] for ending in endings if ending in _MEASURE), "个")


def phrase(noun: str, count: int) -> str:
    """`count` of a noun: 两只猫."""
    return noun if count == 1 and noun[0] in COUNTED else number(count) + measure(noun) + noun


def called(name: str, lexicon: Lexicon) -> str:
    """The name without what says where its object is."""
    last = name.rpartition("的")[2]
    return last if last and lexicon.pattern.search(name) else name


def caption(names: Sequence[str], lexicon: Lexicon) -> str:
    """Names every object once, those of one name together, in the order of their first: 一只猫、两棵树和一辆车."""
    counts = Counter(called(name, lexicon) for name in names)
    phrases = [phrase(noun, count) for noun, count in counts.items()]
    return phrases[0] if len(phrases) == 1 else "、".join(phrases[:-1]) + "和" + phrases[-1]
