"""The paho client, as most Python programs use it."""

import queue

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import world
from appliance import MQTT
from mqtt import PATIENCE_S

VERSIONS = (paho.MQTTv311, paho.MQTTv5)


class Paho:
    """A connected paho client with its messages in a queue."""

    def __init__(self, address, version, client_id):
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version,
            reconnect_on_failure=False,
        )
        self._connected, self._subscribed = queue.Queue(), queue.Queue()
        self.messages, self.disconnected = queue.Queue(), queue.Queue()
        self.client.on_connect = lambda *a: self._connected.put(a[3])
        self.client.on_subscribe = lambda *a: self._subscribed.put(a[3])
        self.client.on_message = lambda *a: self.messages.put(a[2])
        self.client.on_disconnect = lambda *a: self.disconnected.put(a[3])
        self.client.connect(address, MQTT, keepalive=60)
        self.client.loop_start()
        code = self._connected.get(timeout=PATIENCE_S)
        assert not code.is_failure, f"CONNACK: {code}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic_filter, qos):
        self.client.subscribe(topic_filter, qos)
        code = self._subscribed.get(timeout=PATIENCE_S)[0]
        assert code.value == qos, f"SUBACK: {code}"

    def publish(self, topic, payload, qos, **options):
        self.client.publish(topic, payload, qos, **options).wait_for_publish(PATIENCE_S)

    def message(self):
        return self.messages.get(timeout=PATIENCE_S)


class PahoClients(world.Test):
    """Both versions, both qualities of service."""

    def test_a_thousand_messages_arrive_in_order(self):
        for version in VERSIONS:
            for qos in (0, 1):
                topic = f"{self.id()}/{version}/{qos}"
                with self.subTest(version=version, qos=qos), \
                        Paho(self.address, version, "paho-sub") as subscriber, \
                        Paho(self.address, version, "paho-pub") as publisher:
                    subscriber.subscribe(topic, qos)
                    # In bursts that no queue limit of either side can cut.
                    for burst in range(0, 1000, 10):
                        for number in range(burst, burst + 9):
                            publisher.client.publish(topic, str(number), qos)
                        publisher.publish(topic, str(burst + 9), qos)
                        got = [int(subscriber.message().payload) for _ in range(10)]
                        self.assertEqual(got, list(range(burst, burst + 10)))
                    self.assertTrue(subscriber.messages.empty())

    def test_properties_of_a_message_reach_the_subscriber(self):
        topic = self.id()
        sent = Properties(PacketTypes.PUBLISH)
        sent.UserProperty = [("first", "1"), ("second", "2")]
        sent.ContentType = "text/plain"
        sent.ResponseTopic = f"{topic}/answers"
        sent.CorrelationData = b"\x00\x01\x02"
        sent.PayloadFormatIndicator = 1
        with Paho(self.address, paho.MQTTv5, "properties-sub") as subscriber, \
                Paho(self.address, paho.MQTTv5, "properties-pub") as publisher:
            subscriber.subscribe(topic, 1)
            publisher.publish(topic, "x", 1, properties=sent)
            got = subscriber.message().properties
            for name in ("UserProperty", "ContentType", "ResponseTopic", "CorrelationData",
                         "PayloadFormatIndicator"):
                self.assertEqual(getattr(got, name, None), getattr(sent, name), name)

    def test_a_retained_message_is_marked(self):
        for version in VERSIONS:
            topic = f"{self.id()}/{version}"
            with self.subTest(version=version), Paho(self.address, version, "retain") as client:
                client.publish(topic, "kept", 1, retain=True)
                client.subscribe(topic, 1)
                message = client.message()
                self.assertEqual((message.payload, message.retain), (b"kept", True))
                client.publish(topic, b"", 1, retain=True)

    def test_two_clients_talk_both_ways(self):
        with Paho(self.address, paho.MQTTv311, "ping") as one, \
                Paho(self.address, paho.MQTTv5, "pong") as other:
            one.subscribe("paho/pong", 1)
            other.subscribe("paho/ping", 1)
            for number in range(30):
                one.publish("paho/ping", str(number), 1)
                other.publish("paho/pong", other.message().payload, 1)
                self.assertEqual(one.message().payload, str(number).encode())
