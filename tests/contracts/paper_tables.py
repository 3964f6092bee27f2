"""IKD's Tables 1 to 3 and A.1 and DFMSD's Tables 1 to 11 as rows, and the weights of each method by family."""

from __future__ import annotations

import csv
import io

# flags: i inherits neck and head, c is trained without clipping, f without flips; of IKD, n has the noise, p the crop,
# a the adversarial copies, k all of them
ROWS = """\
recipe,student,teachers,host,flags
coco_retinanet_r50,retinanet,,none,
coco_gfl_r50,gfl,,none,
coco_reppoints_r50,reppoints,,none,
coco_fcos_r50,fcos,,none,
coco_faster_rcnn_r50,faster_rcnn,,none,
coco_mask_rcnn_r50,mask_rcnn,,none,
ikd_table1_retinanet,retinanet,retinanet_x101,none,i
ikd_table1_retinanet_fkd,retinanet,retinanet_x101,fbkd,
ikd_table1_retinanet_cwd,retinanet,retinanet_x101,cwd,c
ikd_table1_retinanet_fgd,retinanet,retinanet_x101,fgd,i
ikd_table1_retinanet_mgd,retinanet,retinanet_x101,mgd,i
ikd_table1_retinanet_ikd_fgd,retinanet,retinanet_x101,fgd,ik
ikd_table1_retinanet_ikd_mgd,retinanet,retinanet_x101,mgd,ik
ikd_table1_mask_rcnn,mask_rcnn,cascade_mask_x101,none,
ikd_table1_mask_rcnn_fkd,mask_rcnn,cascade_mask_x101,fbkd,
ikd_table1_mask_rcnn_cwd,mask_rcnn,cascade_mask_x101,cwd,c
ikd_table1_mask_rcnn_fgd,mask_rcnn,cascade_mask_x101,fgd,
ikd_table1_mask_rcnn_mgd,mask_rcnn,cascade_mask_x101,mgd,
ikd_table1_mask_rcnn_ikd_fgd,mask_rcnn,cascade_mask_x101,fgd,k
ikd_table1_mask_rcnn_ikd_mgd,mask_rcnn,cascade_mask_x101,mgd,k
ikd_table1_reppoints,reppoints,reppoints_x101,none,i
ikd_table1_reppoints_fkd,reppoints,reppoints_x101,fbkd,
ikd_table1_reppoints_cwd,reppoints,reppoints_x101,cwd,c
ikd_table1_reppoints_fgd,reppoints,reppoints_x101,fgd,i
ikd_table1_reppoints_mgd,reppoints,reppoints_x101,mgd,i
ikd_table1_reppoints_ikd_fgd,reppoints,reppoints_x101,fgd,ik
ikd_table1_reppoints_ikd_mgd,reppoints,reppoints_x101,mgd,ik
dfmsd_table1_faster_rcnn_from_swin,faster_rcnn,swin_t swin_s,dfmsd,
dfmsd_table1_faster_rcnn_from_swin_mgd,faster_rcnn,swin_s,mgd,
dfmsd_table1_faster_rcnn_from_swin_dmkd,faster_rcnn,swin_s,dmkd,
dfmsd_table1_faster_rcnn_from_swin_first_stage,faster_rcnn,swin_t,dfmsd,
dfmsd_table1_faster_rcnn_from_swin_direct,faster_rcnn,swin_s,dfmsd,
dfmsd_table1_retinanet_from_swin,retinanet,swin_t swin_s,dfmsd,
dfmsd_table1_retinanet_from_swin_mgd,retinanet,swin_s,mgd,
dfmsd_table1_retinanet_from_swin_dmkd,retinanet,swin_s,dmkd,
dfmsd_table1_fcos_from_swin,fcos,swin_t swin_s,dfmsd,
dfmsd_table1_fcos_from_swin_mgd,fcos,swin_s,mgd,
dfmsd_table1_fcos_from_swin_dmkd,fcos,swin_s,dmkd,
dfmsd_table2_retinanet_from_cascade_mask,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table2_retinanet_from_cascade_mask_mgd,retinanet,cascade_mask_x101,mgd,
dfmsd_table2_retinanet_from_cascade_mask_dmkd,retinanet,cascade_mask_x101,dmkd,
dfmsd_table2_fcos_from_cascade_mask,fcos,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table2_fcos_from_cascade_mask_mgd,fcos,cascade_mask_x101,mgd,
dfmsd_table2_fcos_from_cascade_mask_dmkd,fcos,cascade_mask_x101,dmkd,
dfmsd_table3_faster_rcnn_from_retinanet,faster_rcnn,retinanet_r101 retinanet_x101,dfmsd,
dfmsd_table3_faster_rcnn_from_retinanet_mgd,faster_rcnn,retinanet_x101,mgd,
dfmsd_table3_faster_rcnn_from_retinanet_dmkd,faster_rcnn,retinanet_x101,dmkd,
dfmsd_table3_fcos_from_retinanet,fcos,retinanet_r101 retinanet_x101,dfmsd,
dfmsd_table3_fcos_from_retinanet_mgd,fcos,retinanet_x101,mgd,
dfmsd_table3_fcos_from_retinanet_dmkd,fcos,retinanet_x101,dmkd,
dfmsd_table3_fcos_from_gfl,fcos,gfl_r101 gfl_x101,dfmsd,
dfmsd_table3_fcos_from_gfl_mgd,fcos,gfl_x101,mgd,
dfmsd_table3_fcos_from_gfl_dmkd,fcos,gfl_x101,dmkd,
dfmsd_table4_faster_rcnn_from_fcos,faster_rcnn,fcos_r101 fcos_x101,dfmsd,
dfmsd_table4_faster_rcnn_from_fcos_mgd,faster_rcnn,fcos_x101,mgd,
dfmsd_table4_faster_rcnn_from_fcos_dmkd,faster_rcnn,fcos_x101,dmkd,
dfmsd_table4_gfl_from_fcos,gfl,fcos_r101 fcos_x101,dfmsd,
dfmsd_table4_gfl_from_fcos_mgd,gfl,fcos_x101,mgd,
dfmsd_table4_gfl_from_fcos_dmkd,gfl,fcos_x101,dmkd,
dfmsd_table4_retinanet_from_fcos,retinanet,fcos_r101 fcos_x101,dfmsd,
dfmsd_table4_retinanet_from_fcos_mgd,retinanet,fcos_x101,mgd,
dfmsd_table4_retinanet_from_fcos_dmkd,retinanet,fcos_x101,dmkd,
dfmsd_table5_retinanet_from_cascade_mask_swin,retinanet,cascade_mask_r101 swin_t_3x,dfmsd,
dfmsd_table5_retinanet_from_cascade_mask_swin_pkd,retinanet,swin_t_3x,pkd,
dfmsd_table5_retinanet_from_cascade_mask_swin_dmkd,retinanet,swin_t_3x,dmkd,
dfmsd_table6_retinanet_fkd,retinanet,retinanet_x101,fbkd,
dfmsd_table6_retinanet_fgd,retinanet,retinanet_x101,fgd,i
dfmsd_table6_retinanet_mgd,retinanet,retinanet_x101,mgd,i
dfmsd_table6_retinanet_amd,retinanet,retinanet_x101,amd,i
dfmsd_table6_retinanet_dmkd,retinanet,retinanet_x101,dmkd,i
dfmsd_table6_retinanet,retinanet,retinanet_r101 retinanet_x101,dfmsd,i
dfmsd_table6_reppoints_fkd,reppoints,reppoints_x101,fbkd,
dfmsd_table6_reppoints_fgd,reppoints,reppoints_x101,fgd,i
dfmsd_table6_reppoints_mgd,reppoints,reppoints_x101,mgd,i
dfmsd_table6_reppoints_amd,reppoints,reppoints_x101,amd,i
dfmsd_table6_reppoints_dmkd,reppoints,reppoints_x101,dmkd,i
dfmsd_table6_reppoints,reppoints,reppoints_r101 reppoints_x101,dfmsd,i
dfmsd_table6_gfl_mgd,gfl,gfl_x101,mgd,i
dfmsd_table6_gfl_amd,gfl,gfl_x101,amd,i
dfmsd_table6_gfl_dmkd,gfl,gfl_x101,dmkd,i
dfmsd_table6_gfl,gfl,gfl_r101 gfl_x101,dfmsd,i
dfmsd_table6_fcos_mgd,fcos,fcos_x101,mgd,i
dfmsd_table6_fcos_amd,fcos,fcos_x101,amd,i
dfmsd_table6_fcos_dmkd,fcos,fcos_x101,dmkd,i
dfmsd_table6_fcos,fcos,fcos_r101 fcos_x101,dfmsd,i
ikd_table2_none,retinanet,retinanet_x101,fgd,if
ikd_table2_noise,retinanet,retinanet_x101,fgd,ifn
ikd_table2_crop,retinanet,retinanet_x101,fgd,ifp
ikd_table2_noise_crop,retinanet,retinanet_x101,fgd,ifnp
ikd_table2_adversarial,retinanet,retinanet_x101,fgd,ifa
ikd_table2_all,retinanet,retinanet_x101,fgd,ifk
ikd_table3_none,retinanet,retinanet_x101,fgd,if
ikd_table3_cutout,retinanet,retinanet_x101,fgd,if
ikd_table3_copy_paste,retinanet,retinanet_x101,fgd,if
ikd_table3_flip,retinanet,retinanet_x101,fgd,i
ikd_table3_ikd,retinanet,retinanet_x101,fgd,ifk
ikd_table3_ikd_flip,retinanet,retinanet_x101,fgd,ik
ikd_table_a1_quarter,mask_rcnn,cascade_mask_x101,fgd,k
ikd_table_a1_half,mask_rcnn,cascade_mask_x101,fgd,k
ikd_table_a1_published,mask_rcnn,cascade_mask_x101,fgd,k
ikd_table_a1_double,mask_rcnn,cascade_mask_x101,fgd,k
dfmsd_table7_three_stages,retinanet,cascade_mask_r50 cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table7_r50_r101,retinanet,cascade_mask_r50 cascade_mask_r101,dfmsd,
dfmsd_table7_r101_x101,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table7_to_fcos,retinanet,cascade_mask_r101 fcos_x101,dfmsd,
dfmsd_table7_to_retinanet,retinanet,cascade_mask_r101 retinanet_x101,dfmsd,
dfmsd_table7_to_swin,retinanet,cascade_mask_r101 swin_t_3x,dfmsd,
dfmsd_table8_both,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table8_first,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table8_last,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table9_p1,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table9_p1_p2,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table9_p1_p3,retinanet,cascade_mask_r101 cascade_mask_x101,dfmsd,
dfmsd_table10_sal,retinanet,swin_t swin_s,dfmsd,
dfmsd_table10_me,retinanet,swin_s,dfmsd,
dfmsd_table10_sfa,retinanet,swin_s,dfmsd,
dfmsd_table10_sal_me,retinanet,swin_t swin_s,dfmsd,
dfmsd_table10_sal_sfa,retinanet,swin_t swin_s,dfmsd,
dfmsd_table10_me_sfa,retinanet,swin_s,dfmsd,
dfmsd_table10_all,retinanet,swin_t swin_s,dfmsd,
dfmsd_table11_sal,retinanet,retinanet_r101 retinanet_x101,dfmsd,i
dfmsd_table11_me,retinanet,retinanet_x101,dfmsd,i
dfmsd_table11_sfa,retinanet,retinanet_x101,dfmsd,i
dfmsd_table11_sal_me,retinanet,retinanet_r101 retinanet_x101,dfmsd,i
dfmsd_table11_sal_sfa,retinanet,retinanet_r101 retinanet_x101,dfmsd,i
dfmsd_table11_me_sfa,retinanet,retinanet_x101,dfmsd,i
dfmsd_table11_all,retinanet,retinanet_r101 retinanet_x101,dfmsd,i
"""
TABLE = {row["recipe"]: row for row in csv.DictReader(io.StringIO(ROWS))}
STUDENTS = {
    "retinanet": ("RetinaNet", "one"),
    "gfl": ("GFL", "one"),
    "reppoints": ("RepPointsDetector", "free"),
    "fcos": ("FCOS", "free"),
    "faster_rcnn": ("FasterRCNN", "two"),
    "mask_rcnn": ("MaskRCNN", "two"),
}
# as published for pairs of the student's family: one-stage, two-stage, anchor-free
FGD = ("temperature", "alpha", "beta", "gamma", "lambda_")
FBKD = ("temperature", "w_feature", "w_attention", "channel_mask")
DUAL = ("spatial_mask_ratio", "channel_mask_ratio")
WEIGHTS: dict[str, dict[str, tuple[tuple[str, ...], tuple[float, ...]]]] = {
    "fgd": {
        "one": (FGD, (0.5, 1e-3, 5e-4, 5e-4, 5e-6)),
        "two": (FGD, (0.5, 5e-5, 2.5e-5, 5e-5, 5e-7)),
        "free": (FGD, (0.5, 1.6e-3, 8e-4, 8e-4, 8e-6)),
    },
    "mgd": {
        "one": (("alpha", "mask_ratio"), (2e-5, 0.65)),
        "two": (("alpha", "mask_ratio"), (5e-7, 0.45)),
        "free": (("alpha", "mask_ratio"), (2e-5, 0.65)),
    },
    "fbkd": {
        "one": (FBKD, (0.1, 4.2e-4, 2.4e-2, True)),
        "two": (FBKD, (0.5, 7e-5, 4e-3, False)),
        "free": (FBKD, (0.1, 4.2e-4, 2.4e-2, True)),
    },
    "cwd": dict.fromkeys(("one", "two", "free"), (("tau", "weight"), (1.0, 5.0))),
    "amd": {
        "one": (("alpha", "mask_ratio"), (2e-5, 0.65)),
        "two": (("alpha", "mask_ratio"), (5e-7, 0.45)),
        "free": (("alpha", "mask_ratio"), (2e-5, 0.65)),
    },
    "dmkd": {
        "one": (("alpha", *DUAL), (2e-5, 0.65, 0.15)),
        "two": (("alpha", *DUAL), (5e-7, 0.45, 0.15)),
        "free": (("alpha", *DUAL), (2e-5, 0.65, 0.15)),
    },
    "dfmsd": {
        "one": (("alpha", "beta", *DUAL), (2e-5, 1e-5, 0.65, 0.15)),
        "two": (("alpha", "beta", *DUAL), (5e-7, 2.5e-7, 0.45, 0.15)),
        "free": (("alpha", "beta", *DUAL), (2e-5, 1e-5, 0.65, 0.15)),
    },
}
# ME by stage, and the levels of SFA, where a row of DFMSD's has not both as the method has them
NONE: tuple[int, ...] = ()
ALL = (0, 1, 2)
MODULES: dict[str, tuple[tuple[bool, ...], tuple[int, ...]]] = {
    "dfmsd_table1_faster_rcnn_from_swin_first_stage": ((False,), ALL),
    "dfmsd_table8_both": ((True, True), ALL),
    "dfmsd_table8_first": ((True, False), ALL),
    "dfmsd_table9_p1": ((False, True), (0,)),
    "dfmsd_table9_p1_p2": ((False, True), (0, 1)),
    **{
        f"dfmsd_table{table}_{name}": modules
        for table in (10, 11)
        for name, modules in {
            "sal": ((False, False), NONE),
            "me": ((True,), NONE),
            "sfa": ((False,), ALL),
            "sal_me": ((False, True), NONE),
            "sal_sfa": ((False, False), ALL),
        }.items()
    },
}
ADVERSARIAL_WEIGHTS = {
    "ikd_table_a1_quarter": 0.625e-7,
    "ikd_table_a1_half": 1.25e-7,
    "ikd_table_a1_double": 5e-7,
}
STRONGER_FIRST = ("dfmsd_table7_to_fcos", "dfmsd_table7_to_retinanet")
ADVERSARIAL = {"one": 1e-5, "two": 2.5e-7, "free": 1e-5}
TWO_STAGE_TEACHERS = ("cascade", "swin")
