"""What every front end for a chat platform needs: a durable inbox, order, retries, splitting, files, feedback, access."""

from botkit.delivery.access import AllowList
from botkit.delivery.attachments import Uploads
from botkit.delivery.dispatch import Again, Delivery, Dispatcher, Outlet
from botkit.delivery.feedback import button_data, rate
from botkit.delivery.inbox import Attachment, Inbox, Incoming, Waiting
from botkit.delivery.splitting import split

__all__ = [
    "Again",
    "AllowList",
    "Attachment",
    "Delivery",
    "Dispatcher",
    "Inbox",
    "Incoming",
    "Outlet",
    "Uploads",
    "Waiting",
    "button_data",
    "rate",
    "split",
]
