"""Captions of photographs in plain Chinese, for training alone: a noun with a localiser (桌子上, 树下), or none.

The drawn world says 左边 and 旁边; people write 墙上挂着…, 站在门前, 湖边的…. `photo(rng)` gives such a caption and its
label. A place is strong where it is a thing's (on, under, before, behind, between), weak where it is an edge, an inside
or a broad ground. Captions without a place often have a localiser in another sense, or a place on the web page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from gillnext.miniatures.world.classes import CLASSES
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.words import WORDS


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORDS = WORDS["train"] | {
    "who": _list(
        "一个男人 一名女子 两个孩子 一位老奶奶 几个年轻人 一个小男孩 三个姑娘 一对夫妻 一只黑猫 一条小狗 两只麻雀 "
        "一匹白马 几只山羊 一头奶牛 一群鸽子 一只猴子 小熊 爷爷 妈妈 姐姐 牧童 一个戴帽子的人 一位穿红裙的舞者"
    ),
    "what": _list(
        "一本书 两个苹果 一盏台灯 一辆自行车 一把吉他 几件衣服 一盆绿植 三个杯子 一块面包 一部手机 一双鞋 一架钢琴 "
        "一个书包 一面旗子 红色的轿车 白色的小船 蓝色花瓶 一碗面 一台电脑 几张照片 一顶帐篷 一串钥匙"
    ),
    "on": _list(
        "桌子 椅子 墙 床 沙发 柜子 架子 盘子 箱子 石头 树枝 屋顶 窗台 木板 长凳 毯子 台阶 枝头 马背 车顶 栏杆 冰箱 "
        "舞台 灶台 树 地板 肩膀 钢琴 屏幕 门 礼盒 轮椅 枕头 花瓣 托盘"
    ),
    "under": _list("桌子 树 大桥 雨伞 屋檐 路灯 床 蓝天 椅子 柱子 山崖 葡萄藤 夜空 城墙 灯光"),
    "by": _list(
        "房子 大楼 学校 商店 镜子 电视 火车 汽车 教堂 门 窗户 宫殿 雕像 喷泉 帐篷 柜台 塔 寺庙 大树 围栏 卡车 "
        "麦克风 书架 房屋 大象"
    ),
    "ground": _list("街道 草地 马路 沙滩 雪地 海面 湖面 草原 广场 公路 球场 操场 山坡 水面 跑道 冰面 田野 小路"),
    "inside": _list(
        "房间 厨房 教室 办公室 客厅 篮子 盒子 杯子 水 树林 公园 商店 车 花园 院子 浴室 鱼塘 箱子 书包 山谷 餐馆 车厢 "
        "花丛 雪 城市"
    ),
    "edge": _list("湖 河 海 路 窗 水 溪 床 街 池塘"),
    "near": _list("旁 旁边 附近 周围 身旁 边上 不远处"),
    "sits": _list("坐 站 躺 趴 蹲 睡 停 放 靠 卧"),
    "there": _list("放着 挂着 摆着 有 坐着 站着 停着 铺着 画着 是 贴着 堆着"),
    "does": _list("看书 喝水 吃草 打电话 骑车 唱歌 拍照 踢球 睡觉 画画 弹琴 微笑 奔跑 跳舞 做饭 玩耍"),
    "wears": _list("穿着蓝色外套 戴着眼镜 拿着雨伞 抱着书 背着书包 打着领带 牵着手"),
    "direction": _list("左边 右边 左侧 右侧 上方 下方 上面 下面 左下角 左上角 右下角 前面 后面 中间 顶部 底部 旁边"),
    "page": _list(
        "导航 链接 目录 横幅 图标 选项卡 搜索框 入口 弹窗 客服 表单 标签 页脚 工具条 购买 报名表 订阅 输入框 说明 排名"
    ),
    "press": _list("点 戳 点击 打开 查看 拉到 滑到 填写 看 请看 注意 加入 复制"),
    "state": _list("已关闭 可领取 免费 正在维护 即将上线 有惊喜 限时开放 不能用了 改名了 有礼 抽奖 可退款 更多优惠"),
    "around": _list("附近 周围 旁边 身边 隔壁 对面 四周"),
    "people": _list("粉丝 客户 商家 门店 店家 朋友 宝妈 专柜 药店 民宿 加油站 停车位 驾校 快递点"),
    "wherein": _list("里 中 内 里面"),
    "front": _list("前 前面 后面 后 背后 对面"),
    "below": _list("下 下面 底下"),
    "above": _list("上 上 上 上面"),
}

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "strong": (
        "{on}{above}的{what}",
        "{on}{above}{there}{what}",
        "{who}{sits}在{on}{above}",
        "{who}在{on}{above}{does}",
        "{who}{wears}{sits}在{on}{above}",
        "{under}{below}的{who}",
        "{under}{below}{there}{what}",
        "{who}在{under}{below}{does}",
        "{by}{front}的{who}",
        "{by}{front}{there}{what}",
        "{who}{sits}在{by}{front}{does}",
        "{by}和{by}之间{there}{what}",
        "{ground}上的{who}，{by}{front}有{what}",
        "{who}身后是{by}",
        "远处是{by}",
        "{inside}{wherein}的{on}{above}{there}{what}",
    ),
    "weak": (
        "{ground}上的{who}",
        "{ground}上{there}{what}",
        "{who}在{ground}上{does}",
        "{who}{wears}走在{ground}上",
        "{inside}{wherein}的{what}",
        "{inside}{wherein}{there}{what}",
        "{who}在{inside}{wherein}{does}",
        "{edge}边的{who}",
        "{who}在{edge}边{does}",
        "{who}{near}{there}{what}",
        "{by}{near}的{who}",
        "天空中的{what}",
        "人群中的{who}",
    ),
    "none": (
        "{who}{wears}",
        "{who}正在{does}",
        "{who}和{who}",
        "{who}{wears}{does}",
        "{what}的照片",
        "{who}一边{does}一边{does}",
        "店里{goods}{sale}",
        "{goods}店里全场{n}折",
        "之前的{goods}{reaction}",
        "{n}天前买的{goods}，{reaction}",
        "{n}分钟后{event}",
        "身上{goods}多少钱",
        "手上的{goods}怎么{verb}",
        "心里{value}，{reaction}",
        "网上买{goods}{reaction}",
        "台上台下{topic}",
        "上面说的{topic}{reaction}",
        "后面还有{sale}",
        "下面说说{topic}",
        "市面上的{goods}{adjective}",
        "{on}上新{sale}",
        "{goods}马上{event}",
        "地下{goods}{adjective}",
        "{ground}下{goods}{n}元",
        "{place}的{trap}{goods}",
        "{press}{direction}{page}{state}",
        "{direction}{page}{state}",
        "{thing}{goods}，{direction}{page}{state}",
        "{thing}合集，{press}{direction}{page}",
        "{brand}{goods} {press}{direction}的{page}",
        "{thing}手绘，{around}{people}{state}",
        "{thing}{adjective}{around}的{people}{reaction}",
        "{around}{people}{n}元{state}",
        "{goods}，{around}的{people}{state}",
        "{emoji}{direction}{page}{n}折",
        "{people}都在{direction}{verb}{value}",
        "{topic}，{people}在{direction}{state}",
    ),
}


def photo(rng: np.random.Generator, kinds: Sequence[Kind] = CLASSES) -> tuple[str, str]:
    """A caption and its label: strong, weak or none. Some name an object of the world's kinds."""
    label = str(rng.choice(list(_TEMPLATES), p=[0.3, 0.2, 0.5]))
    template = str(rng.choice(_TEMPLATES[label]))
    words = _WORDS | {"n": (str(int(rng.integers(2, 300))),), "thing": tuple(kind.phrase for kind in kinds)}
    return re.sub(r"\{([a-z]+)\}", lambda slot: str(rng.choice(words[slot[1]])), template), label
