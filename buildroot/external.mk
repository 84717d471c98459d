include $(sort $(wildcard $(BR2_EXTERNAL_LAZYCAM_PATH)/package/*/*.mk))
