// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A JPEG encoder that is no hardware: a V4L2 memory-to-memory device for tests (Documentation/userspace-api/media/v4l/dev-encoder.rst).
 * It takes raw pictures and returns a baseline JPEG in which each 8x8 block is its mean: DC coefficients only, with the code words of ITU-T
 * T.81, tables K.3 and K.5, for all components. That is enough to see whether planes, strides, sizes and the quality have arrived, and needs
 * no transform. The parameters imitate what real encoders do; what is set holds from the next call on. Linux 6.12.
 */
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-vmalloc.h>

#define NAME "jpeg_encoder"

static unsigned int takes = 0x1f, align = 32, columns = 2, rows = 2, largest = 4096, delay_ms = 5, abort_ms, pad, fail_every;
static bool no_dht, no_eoi, no_crop, no_quality, junk_first, stall, single;
static int nr = -1, busy = -1, devices = 1;
module_param(takes, uint, 0644);	/* which raw formats there are: a bit for each of `raws` */
module_param(align, uint, 0644);	/* each bytesperline is a multiple of this */
module_param(columns, uint, 0644);	/* width and height of the raw format are multiples of these */
module_param(rows, uint, 0644);
module_param(largest, uint, 0644);	/* neither is more than this */
module_param(delay_ms, uint, 0644);	/* what a picture takes */
module_param(abort_ms, uint, 0644);	/* how long one takes that is not wanted any more */
module_param(pad, uint, 0644);		/* bytes after EOI */
module_param(fail_every, uint, 0644);	/* every so many pictures V4L2_BUF_FLAG_ERROR */
module_param(no_dht, bool, 0644);
module_param(no_eoi, bool, 0644);
module_param(no_crop, bool, 0644);	/* the whole of the raw format is encoded, whatever was selected */
module_param(no_quality, bool, 0644);	/* there is no control for it */
module_param(junk_first, bool, 0644);	/* the first result has no time stamp and is rubbish */
module_param(stall, bool, 0644);	/* no picture is ever done */
module_param(single, bool, 0444);	/* through the single-planar API */
module_param(busy, int, 0644);		/* the number of a node that another program seems to have */
module_param(nr, int, 0444);		/* the number of /dev/videoN */
module_param(devices, int, 0444);	/* one or two, the other with the next number */

struct jpeg_dev {
	struct v4l2_device v4l2;
	struct video_device vfd;
	struct mutex lock;
	struct v4l2_m2m_dev *m2m;
};

struct jpeg_ctx {
	struct v4l2_fh fh;
	struct jpeg_dev *dev;
	struct v4l2_ctrl_handler controls;
	struct delayed_work work;
	struct v4l2_pix_format_mplane raw, coded;
	struct v4l2_rect crop;
	unsigned int quality, frames;
	bool junk;
};

static struct jpeg_ctx *ctx_of(struct file *file)
{
	return container_of(file->private_data, struct jpeg_ctx, fh);
}

/* --- formats --- */

/* Bytes per line of each piece of memory are the width times `line` by 2, and its lines the height by `high`. */
struct raw_format { u32 code; u8 pieces, line[3], high[3]; };
static const struct raw_format raws[] = {
	{ V4L2_PIX_FMT_YUV420, 1, { 2 } },
	{ V4L2_PIX_FMT_NV12, 1, { 2 } },
	{ V4L2_PIX_FMT_YUYV, 1, { 4 } },
	{ V4L2_PIX_FMT_NV12M, 2, { 2, 2 }, { 1, 2 } },
	{ V4L2_PIX_FMT_YUV420M, 3, { 2, 1, 1 }, { 1, 2, 2 } },
};

static bool is_there(int i)
{
	return takes >> i & 1 && !(single && raws[i].pieces > 1);
}

static const struct raw_format *raw_of(u32 code)
{
	int i, first = -1;

	for (i = 0; i < ARRAY_SIZE(raws); i++) {
		if (is_there(i) && raws[i].code == code)
			return &raws[i];
		if (is_there(i) && first < 0)
			first = i;
	}
	return &raws[max(first, 0)];
}

/* --- the encoder --- */

struct sink { u8 *at, *end; u32 bits; int count; bool full; };

static void byte(struct sink *s, u8 b)
{
	if (s->at < s->end)
		*s->at++ = b;
	else
		s->full = true;
}

static void bytes(struct sink *s, const u8 *b, int n)
{
	while (n--)
		byte(s, *b++);
}

static void put(struct sink *s, u32 value, int n)
{
	while (n--) {
		s->bits = s->bits << 1 | (value >> n & 1);
		if (++s->count < 8)
			continue;
		byte(s, s->bits);
		if ((s->bits & 0xff) == 0xff)
			byte(s, 0);
		s->bits = s->count = 0;
	}
}

/* Code words of table K.3, by category, each followed by what differs, and EOB of table K.5. */
static void dc(struct sink *s, int value, int *before)
{
	static const u8 len[12] = { 2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9 };
	static const u16 code[12] = { 0, 2, 3, 4, 5, 6, 14, 30, 62, 126, 254, 510 };
	int diff = value - *before, category = 0;

	*before = value;
	while (abs(diff) >> category)
		category++;
	put(s, code[category], len[category]);
	put(s, diff < 0 ? diff + (1 << category) - 1 : diff, category);
	put(s, 10, 4);
}

/* One component's samples: where, how far apart, and how many there are. */
struct component { const u8 *base; int step, stride, width, height; };

static int mean(const struct component *c, int bx, int by, int q)
{
	int x, y, sum = 0;

	for (y = by * 8; y < by * 8 + 8; y++)
		for (x = bx * 8; x < bx * 8 + 8; x++)
			sum += c->base[min(y, c->height - 1) * c->stride + min(x, c->width - 1) * c->step];
	sum = (sum - 128 * 64) / 8;
	return sum >= 0 ? (sum + q / 2) / q : -((-sum + q / 2) / q);
}

static void components(struct jpeg_ctx *ctx, struct vb2_buffer *in, int w, int h, struct component c[3])
{
	const struct v4l2_pix_format_mplane *f = &ctx->raw;
	int stride = f->plane_fmt[0].bytesperline, cw = DIV_ROUND_UP(w, 2), ch = DIV_ROUND_UP(h, 2);
	const u8 *p = vb2_plane_vaddr(in, 0), *u = p + stride * f->height;

	c[0] = (struct component){ p, 1, stride, w, h };
	switch (f->pixelformat) {
	case V4L2_PIX_FMT_YUYV:
		c[0].step = 2;
		c[1] = (struct component){ p + 1, 4, stride, cw, h };
		c[2] = (struct component){ p + 3, 4, stride, cw, h };
		return;
	case V4L2_PIX_FMT_NV12M:
		u = vb2_plane_vaddr(in, 1);
		fallthrough;
	case V4L2_PIX_FMT_NV12:
		stride = f->pixelformat == V4L2_PIX_FMT_NV12 ? stride : f->plane_fmt[1].bytesperline;
		c[1] = (struct component){ u, 2, stride, cw, ch };
		c[2] = (struct component){ u + 1, 2, stride, cw, ch };
		return;
	case V4L2_PIX_FMT_YUV420M:
		c[1] = (struct component){ vb2_plane_vaddr(in, 1), 1, f->plane_fmt[1].bytesperline, cw, ch };
		c[2] = (struct component){ vb2_plane_vaddr(in, 2), 1, f->plane_fmt[2].bytesperline, cw, ch };
		return;
	default:
		c[1] = (struct component){ u, 1, stride / 2, cw, ch };
		c[2] = (struct component){ u + stride / 2 * (f->height / 2), 1, stride / 2, cw, ch };
	}
}

static unsigned int encode(struct jpeg_ctx *ctx, struct vb2_buffer *in, u8 *out, unsigned int room)
{
	int w = no_crop ? ctx->raw.width : ctx->crop.width, h = no_crop ? ctx->raw.height : ctx->crop.height;
	int q = ctx->quality < 50 ? 16 * 50 / ctx->quality : 16 * (200 - 2 * ctx->quality) / 100;
	bool packed = ctx->raw.pixelformat == V4L2_PIX_FMT_YUYV;
	int x, y, i, mh = packed ? 8 : 16, last[3] = {};
	struct sink s = { .at = out, .end = out + room };
	struct component c[3];
	static const u8 dc_bits[16] = { 0, 1, 5, 1, 1, 1, 1, 1, 1 }, ac_bits[16] = { 0, 2, 1, 1 }, ac_values[4] = { 1, 2, 3, 0 };

	q = clamp(q, 1, 255);
	components(ctx, in, w, h, c);
	bytes(&s, (const u8[]){ 0xff, 0xd8, 0xff, 0xdb, 0, 67, 0 }, 7);
	for (i = 0; i < 64; i++)
		byte(&s, q);
	bytes(&s, (const u8[]){ 0xff, 0xc0, 0, 17, 8, h >> 8, h, w >> 8, w, 3, 1, packed ? 0x21 : 0x22, 0, 2, 0x11, 0, 3, 0x11, 0 }, 19);
	if (!no_dht) {
		/* The beginnings of the tables, so that their code words are those that are meant where there are none. */
		bytes(&s, (const u8[]){ 0xff, 0xc4, 0, 31, 0 }, 5);
		bytes(&s, dc_bits, 16);
		for (i = 0; i < 12; i++)
			byte(&s, i);
		bytes(&s, (const u8[]){ 0xff, 0xc4, 0, 23, 0x10 }, 5);
		bytes(&s, ac_bits, 16);
		bytes(&s, ac_values, 4);
	}
	bytes(&s, (const u8[]){ 0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0 }, 14);
	for (y = 0; y < DIV_ROUND_UP(h, mh); y++)
		for (x = 0; x < DIV_ROUND_UP(w, 16); x++) {
			for (i = 0; i < (packed ? 2 : 4); i++)
				dc(&s, mean(&c[0], x * 2 + (i & 1), packed ? y : y * 2 + (i >> 1), q), &last[0]);
			dc(&s, mean(&c[1], x, y, q), &last[1]);
			dc(&s, mean(&c[2], x, y, q), &last[2]);
		}
	while (s.count)
		put(&s, 1, 1);
	if (!no_eoi)
		bytes(&s, (const u8[]){ 0xff, 0xd9 }, 2);
	for (i = 0; i < pad; i++)
		byte(&s, 0);
	return s.full ? 0 : s.at - out;
}

/* --- jobs --- */

static void finish(struct work_struct *w)
{
	struct jpeg_ctx *ctx = container_of(w, struct jpeg_ctx, work.work);
	struct vb2_v4l2_buffer *src, *dst = v4l2_m2m_dst_buf_remove(ctx->fh.m2m_ctx);
	unsigned int used = 0;
	bool bad;

	if (ctx->junk && dst) {
		ctx->junk = false;
		memset(vb2_plane_vaddr(&dst->vb2_buf, 0), 0x55, 100);
		vb2_set_plane_payload(&dst->vb2_buf, 0, 100);
		dst->vb2_buf.timestamp = 0;
		v4l2_m2m_buf_done(dst, VB2_BUF_STATE_DONE);
		v4l2_m2m_job_finish(ctx->dev->m2m, ctx->fh.m2m_ctx);
		return;
	}
	src = v4l2_m2m_src_buf_remove(ctx->fh.m2m_ctx);
	if (src && dst) {
		v4l2_m2m_buf_copy_metadata(src, dst, true);
		used = encode(ctx, &src->vb2_buf, vb2_plane_vaddr(&dst->vb2_buf, 0), vb2_plane_size(&dst->vb2_buf, 0));
		vb2_set_plane_payload(&dst->vb2_buf, 0, used);
		dst->sequence = src->sequence = ctx->frames++;
	}
	bad = !used || (fail_every && ctx->frames % fail_every == 0);
	if (src)
		v4l2_m2m_buf_done(src, VB2_BUF_STATE_DONE);
	if (dst)
		v4l2_m2m_buf_done(dst, bad ? VB2_BUF_STATE_ERROR : VB2_BUF_STATE_DONE);
	v4l2_m2m_job_finish(ctx->dev->m2m, ctx->fh.m2m_ctx);
}

static void run(void *priv)
{
	struct jpeg_ctx *ctx = priv;

	if (!stall)
		schedule_delayed_work(&ctx->work, msecs_to_jiffies(delay_ms));
}

static void stop_job(void *priv)
{
	struct jpeg_ctx *ctx = priv;

	mod_delayed_work(system_wq, &ctx->work, msecs_to_jiffies(abort_ms));
}

static const struct v4l2_m2m_ops m2m_ops = { .device_run = run, .job_abort = stop_job };

/* --- queues --- */

static struct v4l2_pix_format_mplane *fmt_of(struct jpeg_ctx *ctx, u32 type)
{
	return V4L2_TYPE_IS_OUTPUT(type) ? &ctx->raw : &ctx->coded;
}

static int queue_setup(struct vb2_queue *q, unsigned int *count, unsigned int *pieces, unsigned int sizes[], struct device *d[])
{
	const struct v4l2_pix_format_mplane *f = fmt_of(vb2_get_drv_priv(q), q->type);
	int i;

	if (*pieces && *pieces != f->num_planes)
		return -EINVAL;
	for (i = 0; i < f->num_planes; i++) {
		if (*pieces && sizes[i] < f->plane_fmt[i].sizeimage)
			return -EINVAL;
		sizes[i] = max(*pieces ? sizes[i] : 0, f->plane_fmt[i].sizeimage);
	}
	*pieces = f->num_planes;
	return 0;
}

static int prepare(struct vb2_buffer *vb)
{
	const struct v4l2_pix_format_mplane *f = fmt_of(vb2_get_drv_priv(vb->vb2_queue), vb->vb2_queue->type);
	int i;

	for (i = 0; i < f->num_planes; i++)
		if (vb2_plane_size(vb, i) < f->plane_fmt[i].sizeimage)
			return -EINVAL;
	return 0;
}

static int out_validate(struct vb2_buffer *vb)
{
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	return 0;
}

static void queue_buf(struct vb2_buffer *vb)
{
	struct jpeg_ctx *ctx = vb2_get_drv_priv(vb->vb2_queue);

	v4l2_m2m_buf_queue(ctx->fh.m2m_ctx, to_vb2_v4l2_buffer(vb));
}

static int start_streaming(struct vb2_queue *q, unsigned int count)
{
	struct jpeg_ctx *ctx = vb2_get_drv_priv(q);

	ctx->junk = junk_first;
	ctx->frames = 0;
	if (V4L2_TYPE_IS_OUTPUT(q->type))
		pr_info(NAME ": stream on, %ux%u of %ux%u %p4cc, quality %u\n", ctx->crop.width, ctx->crop.height, ctx->raw.width,
			ctx->raw.height, &ctx->raw.pixelformat, ctx->quality);
	return 0;
}

static void stop_streaming(struct vb2_queue *q)
{
	struct jpeg_ctx *ctx = vb2_get_drv_priv(q);
	bool out = V4L2_TYPE_IS_OUTPUT(q->type);
	struct vb2_v4l2_buffer *b;

	cancel_delayed_work_sync(&ctx->work);
	while ((b = out ? v4l2_m2m_src_buf_remove(ctx->fh.m2m_ctx) : v4l2_m2m_dst_buf_remove(ctx->fh.m2m_ctx)))
		v4l2_m2m_buf_done(b, VB2_BUF_STATE_ERROR);
	pr_info(NAME ": %s off after %u pictures\n", out ? "stream" : "results", ctx->frames);
}

static const struct vb2_ops vb_ops = {
	.queue_setup = queue_setup, .buf_prepare = prepare, .buf_out_validate = out_validate, .buf_queue = queue_buf,
	.start_streaming = start_streaming, .stop_streaming = stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare, .wait_finish = vb2_ops_wait_finish,
};

static int queues(void *priv, struct vb2_queue *src, struct vb2_queue *dst)
{
	static const u32 types[2][2] = {
		{ V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE },
		{ V4L2_BUF_TYPE_VIDEO_OUTPUT, V4L2_BUF_TYPE_VIDEO_CAPTURE },
	};
	struct jpeg_ctx *ctx = priv;
	int i, err = 0;

	for (i = 0; i < 2 && !err; i++) {
		struct vb2_queue *q = i ? dst : src;

		q->type = types[single][i];
		q->io_modes = VB2_MMAP | VB2_DMABUF;
		q->drv_priv = ctx;
		q->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
		q->ops = &vb_ops;
		q->mem_ops = &vb2_vmalloc_memops;
		q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
		q->lock = &ctx->dev->lock;
		err = vb2_queue_init(q);
	}
	return err;
}

/* --- ioctls --- */

static int querycap(struct file *f, void *p, struct v4l2_capability *cap)
{
	strscpy(cap->driver, NAME, sizeof(cap->driver));
	strscpy(cap->card, "JPEG encoder for tests", sizeof(cap->card));
	strscpy(cap->bus_info, "platform:" NAME, sizeof(cap->bus_info));
	return 0;
}

static int enum_cap(struct file *f, void *p, struct v4l2_fmtdesc *d)
{
	d->pixelformat = V4L2_PIX_FMT_JPEG;
	return d->index ? -EINVAL : 0;
}

static int enum_out(struct file *f, void *p, struct v4l2_fmtdesc *d)
{
	int i, left = d->index;

	for (i = 0; i < ARRAY_SIZE(raws); i++)
		if (is_there(i) && !left--) {
			d->pixelformat = raws[i].code;
			return 0;
		}
	return -EINVAL;
}

static int try_mp(struct file *file, void *p, struct v4l2_format *f)
{
	struct v4l2_pix_format_mplane *m = &f->fmt.pix_mp;
	const struct raw_format *raw = raw_of(m->pixelformat);
	int i;

	m->field = V4L2_FIELD_NONE;
	m->width = round_up(clamp(m->width, 32u, largest), columns);
	m->height = round_up(clamp(m->height, 32u, largest), rows);
	/* What JPEG has, on both queues, as imx-jpeg does. */
	m->colorspace = V4L2_COLORSPACE_SRGB;
	m->ycbcr_enc = V4L2_YCBCR_ENC_601;
	m->quantization = V4L2_QUANTIZATION_FULL_RANGE;
	m->xfer_func = V4L2_XFER_FUNC_SRGB;
	if (V4L2_TYPE_IS_CAPTURE(f->type)) {
		m->pixelformat = V4L2_PIX_FMT_JPEG;
		m->num_planes = 1;
		m->plane_fmt[0].bytesperline = 0;
		m->plane_fmt[0].sizeimage = clamp(m->plane_fmt[0].sizeimage, 512u << 10, 16u << 20);
		return 0;
	}
	m->pixelformat = raw->code;
	m->num_planes = raw->pieces;
	for (i = 0; i < raw->pieces; i++) {
		struct v4l2_plane_pix_format *piece = &m->plane_fmt[i];

		piece->bytesperline = roundup(clamp(piece->bytesperline, m->width * raw->line[i] / 2, 16384u), align);
		piece->sizeimage = piece->bytesperline * m->height / max(raw->high[i], (u8)1);
		if (raw->pieces == 1 && raw->line[0] == 2)
			piece->sizeimage = piece->sizeimage * 3 / 2;
	}
	return 0;
}

static int get_mp(struct file *file, void *p, struct v4l2_format *f)
{
	f->fmt.pix_mp = *fmt_of(ctx_of(file), f->type);
	return 0;
}

static int set_mp(struct file *file, void *p, struct v4l2_format *f)
{
	struct jpeg_ctx *ctx = ctx_of(file);

	if (vb2_is_busy(v4l2_m2m_get_vq(ctx->fh.m2m_ctx, f->type)))
		return -EBUSY;
	try_mp(file, p, f);
	*fmt_of(ctx, f->type) = f->fmt.pix_mp;
	if (V4L2_TYPE_IS_OUTPUT(f->type))
		ctx->crop = (struct v4l2_rect){ .width = ctx->raw.width, .height = ctx->raw.height };
	return 0;
}

/* The single-planar API, with one piece of memory. */
static int through(struct file *file, void *p, struct v4l2_format *f, int (*call)(struct file *, void *, struct v4l2_format *))
{
	struct v4l2_pix_format *s = &f->fmt.pix;
	struct v4l2_format many = { .type = f->type, .fmt.pix_mp = {
		.width = s->width, .height = s->height, .pixelformat = s->pixelformat, .colorspace = s->colorspace,
		.ycbcr_enc = s->ycbcr_enc, .quantization = s->quantization, .xfer_func = s->xfer_func,
		.plane_fmt[0] = { .bytesperline = s->bytesperline, .sizeimage = s->sizeimage },
	} };
	struct v4l2_pix_format_mplane *m = &many.fmt.pix_mp;
	int err = call(file, p, &many);

	*s = (struct v4l2_pix_format){
		.width = m->width, .height = m->height, .pixelformat = m->pixelformat, .field = m->field, .colorspace = m->colorspace,
		.ycbcr_enc = m->ycbcr_enc, .quantization = m->quantization, .xfer_func = m->xfer_func,
		.bytesperline = m->plane_fmt[0].bytesperline, .sizeimage = m->plane_fmt[0].sizeimage, .priv = V4L2_PIX_FMT_PRIV_MAGIC,
	};
	return err;
}

static int try_sp(struct file *file, void *p, struct v4l2_format *f) { return through(file, p, f, try_mp); }
static int get_sp(struct file *file, void *p, struct v4l2_format *f) { return through(file, p, f, get_mp); }
static int set_sp(struct file *file, void *p, struct v4l2_format *f) { return through(file, p, f, set_mp); }

static int selection(struct file *file, struct v4l2_selection *s, bool change)
{
	struct jpeg_ctx *ctx = ctx_of(file);

	if (s->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
		return -EINVAL;
	if (!change && (s->target == V4L2_SEL_TGT_CROP_BOUNDS || s->target == V4L2_SEL_TGT_CROP_DEFAULT)) {
		s->r = (struct v4l2_rect){ .width = ctx->raw.width, .height = ctx->raw.height };
		return 0;
	}
	if (s->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	if (change)
		ctx->crop = (struct v4l2_rect){
			.width = clamp(s->r.width, 1u, ctx->raw.width), .height = clamp(s->r.height, 1u, ctx->raw.height),
		};
	s->r = ctx->crop;
	return 0;
}

static int g_sel(struct file *f, void *p, struct v4l2_selection *s) { return selection(f, s, false); }
static int s_sel(struct file *f, void *p, struct v4l2_selection *s) { return selection(f, s, true); }

static int subscribe(struct v4l2_fh *fh, const struct v4l2_event_subscription *sub)
{
	return sub->type == V4L2_EVENT_EOS ? v4l2_event_subscribe(fh, sub, 0, NULL) : v4l2_ctrl_subscribe_event(fh, sub);
}

#define FOR_BOTH .vidioc_querycap = querycap, .vidioc_enum_fmt_vid_cap = enum_cap, .vidioc_enum_fmt_vid_out = enum_out, \
	.vidioc_g_selection = g_sel, .vidioc_s_selection = s_sel, \
	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs, .vidioc_querybuf = v4l2_m2m_ioctl_querybuf, \
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf, .vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf, .vidioc_expbuf = v4l2_m2m_ioctl_expbuf, \
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs, .vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf, \
	.vidioc_streamon = v4l2_m2m_ioctl_streamon, .vidioc_streamoff = v4l2_m2m_ioctl_streamoff, \
	.vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd, .vidioc_encoder_cmd = v4l2_m2m_ioctl_encoder_cmd, \
	.vidioc_subscribe_event = subscribe, .vidioc_unsubscribe_event = v4l2_event_unsubscribe

static const struct v4l2_ioctl_ops multi_ioctls = {
	FOR_BOTH,
	.vidioc_g_fmt_vid_cap_mplane = get_mp, .vidioc_g_fmt_vid_out_mplane = get_mp,
	.vidioc_try_fmt_vid_cap_mplane = try_mp, .vidioc_try_fmt_vid_out_mplane = try_mp,
	.vidioc_s_fmt_vid_cap_mplane = set_mp, .vidioc_s_fmt_vid_out_mplane = set_mp,
};

static const struct v4l2_ioctl_ops single_ioctls = {
	FOR_BOTH,
	.vidioc_g_fmt_vid_cap = get_sp, .vidioc_g_fmt_vid_out = get_sp,
	.vidioc_try_fmt_vid_cap = try_sp, .vidioc_try_fmt_vid_out = try_sp,
	.vidioc_s_fmt_vid_cap = set_sp, .vidioc_s_fmt_vid_out = set_sp,
};

static int s_ctrl(struct v4l2_ctrl *c)
{
	container_of(c->handler, struct jpeg_ctx, controls)->quality = c->val;
	return 0;
}

static const struct v4l2_ctrl_ops ctrl_ops = { .s_ctrl = s_ctrl };

/* --- the device --- */

static int jpeg_open(struct file *file)
{
	struct jpeg_dev *dev = video_drvdata(file);
	struct jpeg_ctx *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);
	struct v4l2_format f = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE };

	if (!ctx)
		return -ENOMEM;
	if (video_devdata(file)->num == busy) {
		kfree(ctx);
		return -EBUSY;
	}
	ctx->dev = dev;
	ctx->quality = 80;
	v4l2_fh_init(&ctx->fh, video_devdata(file));
	file->private_data = &ctx->fh;
	v4l2_ctrl_handler_init(&ctx->controls, 1);
	if (!no_quality)
		v4l2_ctrl_new_std(&ctx->controls, &ctrl_ops, V4L2_CID_JPEG_COMPRESSION_QUALITY, 5, 100, 1, 80);
	ctx->fh.ctrl_handler = &ctx->controls;
	INIT_DELAYED_WORK(&ctx->work, finish);
	try_mp(file, NULL, &f);
	ctx->coded = f.fmt.pix_mp;
	f = (struct v4l2_format){ .type = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE };
	try_mp(file, NULL, &f);
	ctx->raw = f.fmt.pix_mp;
	ctx->crop = (struct v4l2_rect){ .width = ctx->raw.width, .height = ctx->raw.height };
	ctx->fh.m2m_ctx = v4l2_m2m_ctx_init(dev->m2m, ctx, queues);
	v4l2_fh_add(&ctx->fh);
	return 0;
}

static int jpeg_release(struct file *file)
{
	struct jpeg_ctx *ctx = ctx_of(file);

	mutex_lock(&ctx->dev->lock);
	v4l2_m2m_ctx_release(ctx->fh.m2m_ctx);
	mutex_unlock(&ctx->dev->lock);
	v4l2_ctrl_handler_free(&ctx->controls);
	v4l2_fh_del(&ctx->fh);
	v4l2_fh_exit(&ctx->fh);
	kfree(ctx);
	return 0;
}

static const struct v4l2_file_operations fops = {
	.owner = THIS_MODULE, .open = jpeg_open, .release = jpeg_release, .poll = v4l2_m2m_fop_poll, .mmap = v4l2_m2m_fop_mmap,
	.unlocked_ioctl = video_ioctl2,
};

/* When the last handle is closed, which may be after the device was unbound. */
static void jpeg_free(struct v4l2_device *v4l2)
{
	struct jpeg_dev *dev = container_of(v4l2, struct jpeg_dev, v4l2);

	v4l2_m2m_release(dev->m2m);
	v4l2_device_unregister(&dev->v4l2);
	kfree(dev);
}

static int probe(struct platform_device *pdev)
{
	struct jpeg_dev *dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	int err;

	if (!dev)
		return -ENOMEM;
	mutex_init(&dev->lock);
	dev->v4l2.release = jpeg_free;
	err = v4l2_device_register(&pdev->dev, &dev->v4l2);
	if (err) {
		kfree(dev);
		return err;
	}
	dev->m2m = v4l2_m2m_init(&m2m_ops);
	dev->vfd = (struct video_device){
		.name = NAME, .vfl_dir = VFL_DIR_M2M, .fops = &fops, .ioctl_ops = single ? &single_ioctls : &multi_ioctls, .minor = -1,
		.release = video_device_release_empty, .lock = &dev->lock, .v4l2_dev = &dev->v4l2,
		.device_caps = (single ? V4L2_CAP_VIDEO_M2M : V4L2_CAP_VIDEO_M2M_MPLANE) | V4L2_CAP_STREAMING,
	};
	video_set_drvdata(&dev->vfd, dev);
	platform_set_drvdata(pdev, dev);
	return video_register_device(&dev->vfd, VFL_TYPE_VIDEO, nr < 0 ? nr : nr + max(pdev->id, 0));
}

static void remove(struct platform_device *pdev)
{
	struct jpeg_dev *dev = platform_get_drvdata(pdev);

	v4l2_device_disconnect(&dev->v4l2);
	video_unregister_device(&dev->vfd);
	v4l2_device_put(&dev->v4l2);
}

static struct platform_driver driver = { .probe = probe, .remove = remove, .driver = { .name = NAME } };
static struct platform_device *device, *other;

static int __init jpeg_init(void)
{
	int err = platform_driver_register(&driver);

	if (err)
		return err;
	device = platform_device_register_simple(NAME, -1, NULL, 0);
	if (devices > 1)
		other = platform_device_register_simple(NAME, 1, NULL, 0);
	return PTR_ERR_OR_ZERO(device);
}

static void __exit jpeg_exit(void)
{
	platform_device_unregister(other);
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
}

module_init(jpeg_init);
module_exit(jpeg_exit);
MODULE_DESCRIPTION("JPEG encoder for tests: DC only, in software");
MODULE_LICENSE("Dual MIT/GPL");
